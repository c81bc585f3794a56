/** The rooms of the project and the arrows between them, held to by reading every source. */
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { arrows, importsOf, violations } from './architecture/rules.js';
import { distFolder } from './support/process.js';
import { suite } from './support/suite.js';

const project = resolve(distFolder, '..');
const folders = ['proto', 'lib', 'gateway', 'storage-proxy', 'worker', 'cli', 'deploy', 'docs', 'test'];

function sources(): string[] {
  return folders.flatMap(folder =>
    readdirSync(join(project, folder), { recursive: true, encoding: 'utf8' })
      .filter(name => name.endsWith('.ts'))
      .map(name => `${folder}/${name.replaceAll('\\', '/')}`),
  );
}

const test = suite('architecture');

test('every source keeps to the arrows', () => {
  const all = sources();
  assert.ok(all.length > 50, 'the sources were not found');
  const found = all
    // Generated, and this file's own bad examples.
    .filter(path => !path.startsWith('proto/generated/') && path !== 'test/architecture.test.ts')
    .flatMap(path => violations(path, readFileSync(join(project, path), 'utf8')));
  assert.is(found.join('\n'), '');
});

test('the arrows have no circle', () => {
  const reaches = (from: string, seen: readonly string[]): void => {
    assert.not.ok(seen.includes(from), `a circle: ${[...seen, from].join(' → ')}`);
    for (const next of arrows[from] ?? []) if (next !== 'lib/*') reaches(next, [...seen, from]);
  };
  for (const room of Object.keys(arrows)) reaches(room, []);
});

const forbidden: readonly (readonly [string, string, RegExp])[] = [
  ['gateway/a.ts', "import { x } from '../worker/x.js';", /gateway may not use worker/],
  ['worker/a.ts', "export * from '../gateway/x.js';", /worker may not use gateway/],
  ['cli/a/b.ts', "import {\n  type X,\n  y,\n} from '../../storage-proxy/x.js';", /cli may not use storage-proxy/],
  ['lib/oci/a.ts', "const x = await import('../../gateway/main.js');", /lib\/oci may not use gateway/],
  ['storage-proxy/service/a.ts', "import '../../lib/metadata/x.js';", /may not use lib\/metadata/],
  ['storage-proxy/a.ts', "import type { X } from '../lib/locations/x.js';", /may not use lib\/locations/],
  ['cli/commands/other.ts', "import { X } from '../../lib/metadata/x.js';", /cli may not use lib\/metadata/],
  ['gateway/a.ts', "import pg from 'pg';", /imports pg, which belongs in lib\/metadata/],
  ['worker/a.ts', "import { createServer } from 'node:http';", /imports node:http/],
  ['storage-proxy/service/a.ts', "import { S3Client } from '@aws-sdk/client-s3';", /belongs in storage-proxy\/engines/],
  ['gateway/a.ts', "import { Server } from '@grpc/grpc-js';", /belongs in lib\/rpc/],
  ['lib/rpc/server.ts', 'server.http2Servers.keys()', /private parts of grpc-js/],
  ['gateway/a.ts', 'db.query(`\n  select id from tag where name = $1`)', /holds SQL/],
  ['elsewhere/a.ts', '', /has no row/],
];
for (const [path, source, expected] of forbidden) {
  test(`finds in ${path}: ${JSON.stringify(source)}`, () => {
    assert.match(violations(path, source).join('\n'), expected);
  });
}

test('lets through what is allowed', () => {
  assert.equal(violations('gateway/a.ts', "import Koa from 'koa';\nimport { x } from '../lib/metadata/x.js';"), []);
  assert.equal(violations('lib/metadata/a.ts', "import pg from 'pg';\nconst sql = 'delete from tag';"), []);
  assert.equal(importsOf("// import { x } from 'y' in words\nimport { a } from 'b';"), ['b']);
});

test.run();
