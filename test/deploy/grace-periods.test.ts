/** Whoever stops our processes gives them the time that they take: all that deploy/ has, and what the page on deploying says. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { DRAIN_MS, OVERTIME_MS } from '../../lib/process/run.js';
import { distFolder } from '../support/process.js';
import { suite } from '../support/suite.js';

const test = suite('grace periods');

const MOST_SECONDS = (DRAIN_MS + OVERTIME_MS) / 1000;
const read = (path: string) => readFileSync(join(resolve(distFolder, '..'), path), 'utf8');

/** The number of seconds that `pattern` finds in a file. */
function secondsIn(path: string, pattern: RegExp): number {
  const found = pattern.exec(read(path))?.[1];
  assert.ok(found, `${path} has no ${pattern}`);
  return Number(found);
}

test('each unit of systemd', () => {
  for (const role of ['gateway', 'storage-proxy', 'worker'])
    assert.ok(secondsIn(`deploy/systemd/entrepot-${role}.service`, /^TimeoutStopSec=(\d+)$/m) > MOST_SECONDS, role);
});

test('each of our services in Compose', () => {
  const { services } = parse(read('deploy/compose/compose.yaml'), { merge: true });
  const ours = Object.entries<{ image: string; stop_grace_period?: string }>(services).filter(([, { image }]) =>
    image.includes('ENTREPOT_IMAGE'),
  );
  assert.is(ours.length, 7);
  for (const [name, { stop_grace_period: period = '' }] of ours) {
    assert.match(period, /^\d+s$/, name);
    assert.ok(Number.parseInt(period, 10) > MOST_SECONDS, name);
  }
});

test('the chart, and the least that it takes', () => {
  assert.ok(parse(read('deploy/helm/entrepot/values.yaml')).terminationGracePeriodSeconds > MOST_SECONDS);
  const { properties } = JSON.parse(read('deploy/helm/entrepot/values.schema.json'));
  assert.ok(properties.terminationGracePeriodSeconds.minimum > MOST_SECONDS);
});

test('the pages', () => {
  assert.ok(secondsIn('docs/deploy.md', /`--stop-timeout (\d+)`/) > MOST_SECONDS);
  assert.is(secondsIn('docs/deploy.md', /until (\d+) seconds after the signal/), DRAIN_MS / 1000);
  assert.is(secondsIn('docs/deploy.md', /(\d+) seconds are the most it takes/), MOST_SECONDS);
  assert.is(secondsIn('docs/configuration.md', /until (\d+) seconds after the signal/), DRAIN_MS / 1000);
  assert.is(secondsIn('deploy/helm/entrepot/README.md', /a process takes up to (\d+) s/), MOST_SECONDS);
});

test.run();
