/**
 * Who may use what: the arrows between the rooms, and the packages that belong to one room alone.
 *
 * Read off the sources: imports, and a few words that give away what must not be where it is. It cannot see everything
 * (an import built at run time, for one), but it sees what happens by accident.
 */
import { posix } from 'node:path';

/** For each room, the other rooms that it may import. A room that is not listed may not exist. */
export const arrows: Readonly<Record<string, readonly string[]>> = {
  proto: [],
  'lib/oci': [],
  'lib/config': ['lib/oci', 'lib/tls'],
  'lib/telemetry': ['lib/config'],
  'lib/tls': [],
  'lib/process': ['lib/config', 'lib/telemetry'],
  'lib/rpc': ['proto', 'lib/config', 'lib/oci', 'lib/telemetry', 'lib/tls'],
  'lib/locations': ['proto', 'lib/rpc', 'lib/config', 'lib/oci', 'lib/telemetry'],
  'lib/metadata': ['lib/config', 'lib/oci', 'lib/telemetry', 'lib/tls'],
  'lib/cache': ['lib/config', 'lib/oci', 'lib/telemetry', 'lib/tls'],
  'lib/users': ['lib/config', 'lib/oci'],
  gateway: ['proto', 'lib/*'],
  worker: ['proto', 'lib/*'],
  // Neither the database nor other locations: it knows only its own bytes.
  'storage-proxy': ['proto', 'lib/oci', 'lib/config', 'lib/rpc', 'lib/process', 'lib/telemetry'],
  cli: ['proto', 'lib/oci', 'lib/config', 'lib/rpc', 'lib/process', 'lib/telemetry', 'lib/tls', 'lib/users'],
  // It starts the processes; it is none of them.
  deploy: ['proto', 'lib/oci', 'lib/config', 'lib/rpc', 'lib/telemetry'],
  // What writes the tables that are made from the code.
  docs: ['lib/config'],
  test: ['proto', 'lib/*', 'gateway', 'worker', 'storage-proxy', 'cli', 'deploy', 'docs'],
};

/** Single files that may do what their room may not. */
const exceptions: Readonly<Record<string, readonly string[]>> = {
  // The one command that works on the database itself, since it makes the tables that everything else needs.
  'cli/commands/migrate.ts': ['lib/metadata'],
  // `config check --live` looks at the database and at Redis, before any process does.
  'cli/live/database.ts': ['lib/metadata'],
  'cli/live/redis.ts': ['lib/cache'],
};

/** Packages that are used in the named places only; a pattern that ends in `/` stands for all that begin so. */
const packages: readonly (readonly [packageName: string, places: readonly string[]])[] = [
  ['pg', ['lib/metadata/', 'deploy/local/postgres/', 'test/']],
  ['node-pg-migrate', ['lib/metadata/', 'test/']],
  ['ioredis', ['lib/cache/', 'test/']],
  ['koa', ['gateway/', 'test/']],
  ['@koa/', ['gateway/', 'test/']],
  ['jose', ['gateway/auth/', 'test/']],
  ['@node-rs/', ['lib/users/', 'test/']],
  ['node:http', ['gateway/', 'lib/telemetry/metrics-listener.ts', 'test/']],
  ['prom-client', ['lib/telemetry/', 'test/']],
  ['@opentelemetry/', ['lib/telemetry/span.ts', 'lib/telemetry/tracing.ts', 'test/']],
  ['node:https', ['gateway/', 'test/']],
  ['node:http2', ['lib/rpc/window.ts', 'test/']],
  ['@grpc/', ['lib/rpc/', 'test/']],
  ['grpc-health-check', ['lib/rpc/', 'test/']],
  ['@peculiar/', ['cli/certificates/', 'test/']],
  ['reflect-metadata', ['cli/certificates/', 'test/']],
  ['@aws-sdk/', ['storage-proxy/engines/', 'test/']],
  ['@smithy/', ['storage-proxy/engines/', 'test/']],
  ['@google-cloud/', ['storage-proxy/engines/', 'test/']],
  ['@azure/', ['storage-proxy/engines/', 'test/']],
  ['uvu', ['test/']],
  ['fast-check', ['test/']],
];

/** Words that stand for something that belongs in one place. */
const words: readonly (readonly [what: string, pattern: RegExp, places: readonly string[]])[] = [
  [
    'SQL',
    /['"`]\s*(select\s[^'"`]*\sfrom\s|insert\s+into\s|update\s+\w+\s+set\s|delete\s+from\s|create\s+table\s)/i,
    ['lib/metadata/', 'deploy/local/postgres/', 'test/'],
  ],
  [
    'the private parts of grpc-js',
    /\b(http2Servers|commonServerOptions|setLocalWindowSize)\b|@grpc\/grpc-js\//,
    ['lib/rpc/window.ts', 'test/'],
  ],
];

/** The modules that a source imports or re-exports, types included. */
export function importsOf(source: string): string[] {
  const patterns = [
    /(?:^|[\n;])\s*(?:import|export)\b[^;'"]*?\bfrom\s*['"]([^'"]+)['"]/g,
    /(?:^|[\n;])\s*import\s*['"]([^'"]+)['"]/g,
    /\bimport\(\s*['"]([^'"]+)['"]/g,
  ];
  return patterns.flatMap(pattern => [...source.matchAll(pattern)].map(match => match[1] ?? ''));
}

/** The room of a file: its first folder, and in lib/ the second one, too. */
function roomOf(path: string): string {
  const parts = path.split('/');
  return parts.slice(0, parts[0] === 'lib' ? 2 : 1).join('/');
}

/** What one file does that it may not; `path` is relative to the project, with slashes. */
export function violations(path: string, source: string): string[] {
  const found: string[] = [];
  const room = roomOf(path);
  const allowed = arrows[room];
  if (allowed === undefined) return [`${path}: the room ${room} has no row in test/architecture/rules.ts`];
  const mayImport = (other: string) =>
    other === room ||
    [...allowed, ...(exceptions[path] ?? [])].some(
      name => name === other || (name === 'lib/*' && other.startsWith('lib/')),
    );
  for (const module of importsOf(source)) {
    if (module.startsWith('.')) {
      const other = roomOf(posix.normalize(posix.join(posix.dirname(path), module)));
      if (!mayImport(other)) found.push(`${path}: imports ${module}, but ${room} may not use ${other}`);
      if (!module.endsWith('.js')) found.push(`${path}: imports ${module} without its ending .js`);
    } else {
      const rule = packages.find(([name]) => (name.endsWith('/') ? module.startsWith(name) : module === name));
      if (rule && !isIn(path, rule[1]))
        found.push(`${path}: imports ${module}, which belongs in ${rule[1].join(', ')}`);
    }
  }
  for (const [what, pattern, places] of words) {
    if (pattern.test(source) && !isIn(path, places))
      found.push(`${path}: holds ${what}, which belongs in ${places.join(', ')}`);
  }
  return found;
}

function isIn(path: string, places: readonly string[]): boolean {
  return places.some(place => (place.endsWith('/') ? path.startsWith(place) : path === place));
}
