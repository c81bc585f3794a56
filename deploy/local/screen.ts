/** What the person at the terminal sees. */
import type { Cluster } from './postgres/cluster.js';
import type { Supervised } from './supervised.js';
import type { Ports } from './topology.js';

export function say(text: string): void {
  console.log(text);
}

/** Shows that a step runs, and how long it took. */
export async function step<T>(what: string, work: () => Promise<T>): Promise<T> {
  const started = Date.now();
  say(`  … ${what}`);
  const result = await work();
  say(`  ✓ ${what} (${((Date.now() - started) / 1000).toFixed(1)} s)`);
  return result;
}

const repeated = new Map<string, number>();
const REPEAT_AFTER_MS = 10_000;

/** Shows what a process complains about; the same complaint only once in a while. */
export function complain(name: string, text: string): void {
  const line = `  [${name}] ${text}`;
  const now = Date.now();
  if (now - (repeated.get(line) ?? 0) < REPEAT_AFTER_MS) return;
  if (repeated.size > 500) repeated.clear();
  repeated.set(line, now);
  say(line);
}

/** What operators may ask of the worker at this address. */
export function operationsText(worker: string): string {
  const line = (request: string, call: string) =>
    `  grpcurl -plaintext${request && ` -d '${request}'`} ${worker} entrepot.admin.v1.Admin/${call}`;
  return `Queue what is missing, wait until all is there, and see what removing a location would do (docs/admin.md has more):

${line('', 'BackfillReplication')}
${line('', 'WatchReplication')}
${line('{"location": "eustorage", "dry_run": true}', 'RemoveLocation')}
`;
}

/** The text that ends a start: what to try, and what is where. */
export function readyText(ports: Ports, data: string, postgres: Cluster, parts: readonly Supervised[]): string {
  const us = `127.0.0.1:${ports['gateway-us']}`;
  const eu = `127.0.0.1:${ports['gateway-eu']}`;
  const rows = [
    ...parts.map(part => [part.name, part.address, String(part.pid ?? '-')]),
    ['postgres', `127.0.0.1:${ports.postgres}`, `${postgres.pid ?? '-'} (${postgres.runsAs})`],
  ];
  const table = rows.map(([name = '', address = '', pid = '']) => `  ${name.padEnd(18)}${address.padEnd(18)}${pid}`);
  return `
Entrepot is ready: one registry in two regions, us (${us}) and eu (${eu}).

Push any image to one region, and pull it from the other at once:

  docker tag IMAGE ${us}/demo/hello:1
  docker push ${us}/demo/hello:1
  docker pull ${eu}/demo/hello:1

The same with podman (add --tls-verify=false to push and pull), or with skopeo, which needs no daemon:

  skopeo copy --dest-tls-verify=false docker-daemon:IMAGE docker://${us}/demo/hello:1
  skopeo copy --src-tls-verify=false docker://${eu}/demo/hello:1 dir:/tmp/hello
  skopeo list-tags --tls-verify=false docker://${eu}/demo/hello

Ask whether everything is in sync, where an image is, how each region does (docs/commands.md has more):

  export ENTREPOT_CONFIG=${shellWord(`${data}/config.yaml`)}
  node dist/cli/main.js watch
  node dist/cli/main.js image demo/hello:1
  node dist/cli/main.js status

${operationsText(`127.0.0.1:${ports['worker-us']}`)}
  ${'process'.padEnd(18)}${'listens on'.padEnd(18)}pid
${table.join('\n')}

Data, logs and config.yaml: ${data}
Anybody on this machine may push and pull; nobody else is served. Ctrl-C stops all of it.
`;
}

/** A text as one word of a shell's command line. */
function shellWord(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
