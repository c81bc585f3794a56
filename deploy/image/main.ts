/**
 * What a container runs: a role by its name (none is a gateway), or else a command of `entrepot`. It becomes that program
 * within the same process, so that signals reach it, and the image needs no shell.
 *
 * `health` without a role is about the container that it is run in: the role that its first process has.
 */
import { readFileSync } from 'node:fs';

const ROLES = ['gateway', 'storage-proxy', 'worker'] as const;
type Role = (typeof ROLES)[number];

const [node = 'node', script = 'entrepot', ...given] = process.argv;
const words = given[0] === 'entrepot' ? given.slice(1) : given;
const role = given.length === 0 ? 'gateway' : roleIn(words.slice(0, 1));

if (role) {
  if (words.length > 1) {
    console.error(`${role} takes no arguments, but was given: ${words.slice(1).join(' ')}`);
    process.exit(2);
  }
  await become(`${role}/main.js`, []);
} else if (words.length === 1 && words[0] === 'health') {
  const own = roleIn(firstProcess());
  // A command that is run once is well while it runs.
  if (own) await become('cli/main.js', ['health', own]);
} else {
  await become('cli/main.js', words);
}

async function become(program: string, parameters: readonly string[]): Promise<void> {
  process.argv = [node, script, ...parameters];
  await import(new URL(`../../${program}`, import.meta.url).href);
}

/** The words that the container's first process was started with. There may be an init before ours: `podman run --init`. */
function firstProcess(): string[] {
  const all = readFileSync('/proc/1/cmdline', 'utf8').split('\0').filter(Boolean);
  const ours = all.findIndex(word => word.endsWith('/deploy/image/main.js'));
  const after = ours < 0 ? [] : all.slice(ours + 1);
  return ours >= 0 && after.length === 0
    ? ['gateway']
    : after.filter((word, index) => index > 0 || word !== 'entrepot').slice(0, 1);
}

function roleIn(texts: readonly string[]): Role | undefined {
  return ROLES.find(each => texts[0] === each);
}
