import { execFile } from 'node:child_process';
import { promisify, stripVTControlCharacters } from 'node:util';
import * as assert from 'uvu/assert';
import { stripCredentials } from '../../lib/telemetry/credentials.js';
import { createLogger, type Logger } from '../../lib/telemetry/log.js';
import { suite } from '../support/suite.js';

const test = suite('telemetry: log');

/** A logger, and the lines that it has written. */
function capture(level: 'debug' | 'info' = 'debug'): {
  log: Logger;
  lines: () => Record<string, unknown>[];
  text: () => string;
} {
  let text = '';
  const stream = {
    write(line: string) {
      text += line;
    },
  };
  const log = createLogger({ name: 'gateway', level, stream });
  const lines = () =>
    text
      .split('\n')
      .filter(line => line !== '')
      .map(line => JSON.parse(line) as Record<string, unknown>);
  return { log, lines, text: () => text };
}

test('a line is JSON with time, level, process and message', () => {
  const { log, lines } = capture('info');
  log.debug('not written');
  log.info({ digest: 'sha256:1' }, 'pulled %s', 'it');
  const [line, ...more] = lines();
  assert.equal(more, []);
  assert.equal(Object.keys(line ?? {}), ['level', 'time', 'pid', 'name', 'digest', 'msg']);
  assert.is(line?.level, 'info');
  assert.is(line?.name, 'gateway');
  assert.is(line?.pid, process.pid);
  assert.is(line?.msg, 'pulled it');
  assert.is(new Date(String(line?.time)).toISOString(), line?.time);
});

test('secrets are redacted by name, at every depth, also in bindings, and what was logged is not changed', () => {
  const { log, lines, text } = capture();
  const config = Object.freeze({
    owned: Object.freeze({ name: 'us', arguments: Object.freeze({ secret_key: 'hunter2' }) }),
    redis: { password: 'hunter2' },
  });
  log.child({ password: 'hunter2', region: 'us' }).info({
    config,
    list: [{ token: 'hunter2' }],
    headers: { Authorization: 'Bearer hunter2', 'set-cookie': ['hunter2'], accept: '*/*' },
  });
  assert.not.match(text(), 'hunter2');
  const [line] = lines();
  assert.equal(line?.config, { owned: { name: 'us', arguments: '[redacted]' }, redis: { password: '[redacted]' } });
  assert.equal(line?.headers, { Authorization: '[redacted]', 'set-cookie': '[redacted]', accept: '*/*' });
  assert.is(line?.region, 'us');
  assert.is(config.owned.arguments.secret_key, 'hunter2');
});

test('errors are written with type, message, code, stack and causes, and nothing else of them', () => {
  const { log, lines, text } = capture();
  const cause = Object.assign(new TypeError('connect postgresql://quay:hunter2@db:5432/quay'), {
    code: 'ECONNREFUSED',
    config: { headers: { 'x-key': 'hunter2' } },
  });
  const error = new Error('cannot start', { cause });
  log.error({ err: error, attempt: 2 }, 'failed');
  log.error(new AggregateError([cause], 'all failed'));
  log.child({ err: cause }).info('bound');
  log.warn({ failures: [cause] }, 'nested');
  assert.not.match(text(), 'hunter2');
  const [first, second, third, fourth] = lines() as {
    err: { code?: string; cause: Record<string, unknown>; errors: unknown[] };
    failures: { code: string }[];
  }[];
  assert.ok(first && second && third && fourth);
  assert.equal(Object.keys(first.err), ['type', 'message', 'stack', 'cause']);
  const { stack, ...rest } = first.err.cause;
  assert.equal(rest, { type: 'TypeError', message: 'connect postgresql://***@db:5432/quay', code: 'ECONNREFUSED' });
  assert.match(String(stack), /^TypeError: connect postgresql:\/\/\*\*\*@db:5432\/quay\n {4}at /);
  assert.is(second.err.errors.length, 1);
  assert.is(third.err.code, 'ECONNREFUSED');
  assert.is(fourth.failures[0]?.code, 'ECONNREFUSED');
});

test('credentials are cut out of URLs, and other text stays as it is', () => {
  assert.is(
    stripCredentials('redis://:hunter2@r:6379/0 and postgresql+psycopg2://u:h%40unter2@h,i/d'),
    'redis://***@r:6379/0 and postgresql+psycopg2://***@h,i/d',
  );
  assert.is(
    stripCredentials('https://b/k?X-Amz-Credential=A&X-Amz-Signature=hunter2&X-Amz-Expires=60'),
    'https://b/k?X-Amz-Credential=***&X-Amz-Signature=***&X-Amz-Expires=60',
  );
  assert.is(stripCredentials('https://a/c?sv=1&sig=hunter2'), 'https://a/c?sv=1&sig=***');
  assert.is(
    stripCredentials('authorization: Basic YWxpY2U6aHVudGVyMg== is wrong'),
    'authorization: Basic *** is wrong',
  );
  assert.is(stripCredentials('{"a":"Bearer eyJhbGciOiJFUzI1NiJ9.e30.c2ln"}'), '{"a":"Bearer ***"}');
  assert.is(stripCredentials('token eyJhbGciOiJFUzI1NiJ9.e30.c2ln!'), 'token ***!');
  assert.is(
    stripCredentials('of $argon2id$v=19$m=19456,t=2,p=1$MUxm/Xm3y$nJhGHVYdN+x and $2y$05$c4WoMPo3SX.'),
    'of *** and ***',
  );
  for (const text of ['a basic authentication', 'the bearer of this', 'costs $2 or $argon']) {
    assert.is(stripCredentials(text), text);
  }
  for (const text of ['http://127.0.0.1:8080/v2/a/manifests/x@sha256:1', 'mail a@b.c', 'x=1&y=2', 'a://b, c@d'])
    assert.is(stripCredentials(text), text);
});

test('the last line is there when the process ends at once: in a pipe as JSON, on a terminal for people', async () => {
  const module = JSON.stringify(new URL('../../lib/telemetry/log.js', import.meta.url).href);
  const script = `import { createLogger } from ${module}; const log = createLogger({ name: 'worker', level: 'info' });
    for (let i = 0; i < 2000; i++) log.info({ i }, 'line'); log.fatal('the last'); process.exit(7);`;
  const run = promisify(execFile);
  const ended = async (command: string, args: string[]) => {
    const { code, stdout } = await run(command, args, { maxBuffer: 1 << 24 }).then(
      result => ({ code: 0, stdout: result.stdout }),
      (error: { code: number; stdout: string }) => error,
    );
    return { code, lines: stdout.trimEnd().split('\n') };
  };
  const piped = await ended(process.execPath, ['--input-type=module', '-e', script]);
  assert.is(piped.code, 7);
  assert.is(piped.lines.length, 2001);
  assert.is((JSON.parse(piped.lines.at(-1) ?? '{}') as { msg?: string }).msg, 'the last');

  if (process.platform !== 'linux') return; // script(1) has other options elsewhere
  const quoted = `'${script.replaceAll("'", "'\\''")}'`;
  const terminal = await ended('script', ['-qec', `${process.execPath} --input-type=module -e ${quoted}`, '/dev/null']);
  assert.is(terminal.code, 7);
  assert.is(terminal.lines.length, 2001);
  const plain = stripVTControlCharacters(terminal.lines.at(-1) ?? '').trimEnd();
  assert.match(plain, /^\[\d\d:\d\d:\d\d\.\d{3}\] FATAL \(worker\): the last$/);
});

test.run();
