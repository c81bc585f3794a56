/** `entrepot config check`: says whether the processes could start with a configuration, before any of them does. */
import { formatAddress } from '../../lib/config/address.js';
import type { Config, OwnedLocation, Role, TracingConfig } from '../../lib/config/config.js';
import { hasEngine } from '../../lib/config/engines/engines.js';
import { ConfigError, loadConfig } from '../../lib/config/load.js';
import { formatProblem, type Problem } from '../../lib/config/problems.js';
import { formatSize } from '../../lib/config/size.js';
import { stripCredentials } from '../../lib/telemetry/credentials.js';
import { CONFIG_OPTION, type Command, textOf, UsageError } from '../command.js';
import { EXIT } from '../exit.js';

const ROLES: readonly Role[] = ['gateway', 'storage-proxy', 'worker', 'cli'];

export const configCheck: Command = {
  name: 'config check',
  summary: 'Check a configuration and show what it means.',
  description: [
    'Reads the file and the environment as a process would, and lists every mistake. Nothing is started.',
    'Without --role it checks for every kind of process. With --live it connects to what the configuration',
    'names, too: the users file, the database and its schema, Redis, each storage-proxy (whether it is the',
    'one of its location, and can read and write what that is kept in), and workers.',
    'Exit status: 0 the configuration can be used, 1 it cannot, 2 the command was called wrongly.',
  ].join('\n'),
  options: {
    ...CONFIG_OPTION,
    role: {
      type: 'string',
      short: 'r',
      placeholder: 'ROLE',
      help: `check for one kind of process: ${ROLES.join(', ')}`,
    },
    live: { type: 'boolean', short: 'l', help: 'look at what it names, too; changes nothing' },
  },
  async run(given) {
    const roles = given.role === undefined ? ROLES : [roleOf(given.role)];
    const file = textOf(given, 'config');
    const outcomes = roles.map(role => ({ role, ...check(role, file) }));

    const problems = outcomes.flatMap(({ role, error }) => (error?.problems ?? []).map(problem => ({ role, problem })));
    const failed = outcomes.find(outcome => outcome.error)?.error;
    if (failed) {
      console.error(`${failed.file}: cannot be used`);
      for (const line of merged(problems, roles)) console.error(line);
      return 1;
    }
    const configs = outcomes.flatMap(({ config }) => (config ? [config] : []));
    for (const line of configs.length > 0 ? report(configs) : []) console.log(line);
    return given.live === true ? live(configs) : EXIT.done;
  },
};

/** Shows what is there, and all at once what is not as it should be. */
async function live(configs: readonly Config[]): Promise<number> {
  // Only now: who checks a file alone is not to wait for this.
  const { lookAtAll } = await import('../live/live.js');
  const findings = await lookAtAll(configs);
  for (const { what, good } of findings) if (good !== undefined) console.log(`  ${what.padEnd(14)} ${good}`);
  const problems = findings.flatMap(finding => finding.problems);
  if (problems.length === 0) return EXIT.done;
  console.error(`${configs[0]?.file}: ${problems.length === 1 ? 'a problem' : `${problems.length} problems`}`);
  for (const problem of problems) console.error(stripCredentials(formatProblem(problem)));
  return EXIT.failed;
}

function roleOf(text: string | boolean | readonly string[]): Role {
  const role = ROLES.find(known => known === text);
  if (!role) throw new UsageError(`there is no role ${text}; it is one of ${ROLES.join(', ')}`);
  return role;
}

function check(role: Role, file: string | undefined): { config?: Config; error?: ConfigError } {
  try {
    return { config: loadConfig({ role, file, env: process.env }) };
  } catch (error) {
    if (error instanceof ConfigError) return { error };
    throw error;
  }
}

/** Each mistake once, with the roles that it concerns if those are not all. */
function merged(
  found: readonly { readonly role: Role; readonly problem: Problem }[],
  checked: readonly Role[],
): string[] {
  const rolesOfLine = new Map<string, Role[]>();
  for (const { role, problem } of found) {
    const line = formatProblem(problem);
    rolesOfLine.set(line, [...(rolesOfLine.get(line) ?? []), role]);
  }
  return [...rolesOfLine].map(([line, roles]) =>
    roles.length === checked.length ? line : `${line} [${roles.join(', ')}]`,
  );
}

/** What an operator wants to see at a glance. The part about one role is shown if that role was checked. */
function report(configs: readonly Config[]): string[] {
  const [first] = configs;
  if (!first) return [];
  const role = (wanted: Role) => configs.find(config => config.role === wanted);
  const gateway = role('gateway');
  const proxy = role('storage-proxy');
  const worker = role('worker');
  const lines = [
    `${first.file}: ok`,
    ...first.locations.map(
      ({ name, nodes }) => `  location       ${name}${nodes.length > 0 ? ` at ${nodes.join(', ')}` : ''}`,
    ),
    `  preference     ${first.preference.join(', ') || 'none'}`,
    `  every blob in  ${first.defaultLocations.join(', ') || 'none'}${first.replication ? '' : ' (replication is off: FEATURE_STORAGE_REPLICATION)'}`,
    `  layers up to   ${formatSize(first.maximumLayerSize)}`,
    `  gRPC           ${grpcOf(first)}`,
  ];
  if (gateway)
    lines.push(
      `  gateway        ${formatAddress(gateway.gatewayListen)}${gateway.https ? ` and, with TLS, ${formatAddress(gateway.https.listen)}` : ''}, ${accessTo(gateway)}`,
    );
  if (proxy)
    lines.push(
      `  storage-proxy  ${formatAddress(proxy.storageProxyListen)}, owns ${proxy.owned?.name} (${proxy.owned?.driver})`,
    );
  if (worker)
    lines.push(
      `  worker         ${formatAddress(worker.workerListen)}, copies to ${worker.workerLocations.join(', ')}`,
    );
  const tracing = configs.find(config => config.tracing)?.tracing;
  if (tracing) lines.push(`  traces         ${tracingTo(tracing)}`);
  const notices = new Set([
    ...configs.flatMap(config => config.notices),
    ...(proxy?.owned ? engineNotices(proxy.owned) : []),
  ]);
  return [...lines, ...[...notices].map(notice => `notice: ${notice}`)];
}

function engineNotices({ name, driver }: OwnedLocation): string[] {
  if (hasEngine(driver)) return [];
  return [`This version has no engine for ${driver} yet: the storage-proxy of ${name} will not start.`];
}

function grpcOf({ grpc }: Config): string {
  if (grpc.tls) return `TLS, with the certificate ${grpc.tls.cert}`;
  return grpc.insecure ? 'plain text, also over networks (ENTREPOT_INSECURE_GRPC)' : 'plain text, on this machine only';
}

function tracingTo({ endpoint, sampler: { kind, ratio } }: TracingConfig): string {
  return `to ${stripCredentials(endpoint)}, ${kind}${kind.endsWith('ratio') ? ` ${ratio}` : ''}`;
}

function accessTo({ anonymousAccess, signIn }: Config): string {
  if (!signIn) return `anonymous access: ${anonymousAccess ?? 'this machine only'}`;
  return `users from ${signIn.usersFile}, anonymous access: ${anonymousAccess ?? 'none'}`;
}
