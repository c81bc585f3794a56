/** The Helm chart: who is let in by whom, over the network and by certificates. */
import * as assert from 'uvu/assert';
import { z } from 'zod';
import { identityOf } from '../../lib/tls/identity.js';
import { environmentOf, type Pod, partOf, render, secretsOf, selects } from '../support/chart.js';
import { EU, ONE_REGION, PROXY_ALONE, type Releases, renderExamples, US } from '../support/chart-examples.js';
import { suite } from '../support/suite.js';

const test = suite('helm chart: network', { needs: ['helm'], timeoutMs: 60_000 });

let releases: Releases;
test.before(async () => {
  releases = await renderExamples();
});

test('certificates say what each part is, and have the names that it is dialled by', () => {
  const spec = z.looseObject({
    uris: z.array(z.string()).length(1),
    dnsNames: z.array(z.string()).default([]),
    secretName: z.string(),
  });
  for (const example of [ONE_REGION, US, EU]) {
    const certificates = releases
      .of(example)
      .kind('Certificate')
      .filter(({ metadata }) => metadata.labels['app.kubernetes.io/component'] !== 'authority')
      .map(each => spec.parse(each.spec));
    assert.is(certificates.length, 3);
    const dialled = new Map<string | undefined, string[]>();
    const worker =
      environmentOf(releases.of(example).pod('worker'), 'entrepot-worker-1').ENTREPOT_WORKER_ADVERTISE ?? '';
    dialled.set('worker', [worker]);
    const own = /"(entrepot-storage-[^"]+)"/.exec(
      environmentOf(releases.of(example).pod('gateway'), '').ENTREPOT_LOCATIONS ?? '',
    );
    const location = example === EU ? 'eu' : 'us';
    dialled.set('storage-proxy', [
      own?.[1] ?? '',
      ...(example === ONE_REGION ? [] : [`storage-1.${location}.example.com:7070`]),
    ]);
    for (const { uris, dnsNames, secretName } of certificates) {
      const role = identityOf(`URI:${uris[0]}`)?.role;
      assert.ok(role, `${uris[0]} is a role`);
      assert.ok(secretsOf(releases.of(example).pod(role)).includes(secretName), `the ${role} mounts ${secretName}`);
      for (const address of dialled.get(role) ?? []) {
        const host = address.replace(/:\d+$/, '');
        const named = dnsNames.some(name => name === host || name === host.replace(/^[^.]+/, '*'));
        assert.ok(named, `${host} is among ${dnsNames.join(', ')}`);
      }
    }
  }
});

test('Services, budgets and policies select pods of the part that they are called by', () => {
  const selector = z.looseObject({ selector: z.record(z.string(), z.unknown()) });
  for (const [example, { objects, pods }] of releases.all) {
    for (const { kind, metadata, spec } of objects) {
      if (kind !== 'Service' && kind !== 'PodDisruptionBudget') continue;
      const { selector: raw } = selector.parse(spec);
      const wanted = z.record(z.string(), z.string()).parse(kind === 'Service' ? raw : raw.matchLabels);
      const { 'statefulset.kubernetes.io/pod-name': one, ...rest } = wanted;
      if (one !== undefined) assert.is(one, metadata.name);
      const chosen = pods.filter(pod => selects(rest, pod.metadata.labels)).map(partOf);
      assert.equal(chosen, [metadata.labels['app.kubernetes.io/component']], `${example}: ${kind} ${metadata.name}`);
    }
  }
});

test('every pod has a policy, for both directions', () => {
  releases.eachPod((pod, example, release) => {
    const policies = release.policies.filter(({ podSelector }) =>
      selects(podSelector.matchLabels, pod.metadata.labels),
    );
    assert.is(policies.length, 1, `${example}: ${partOf(pod)}`);
    assert.equal(policies[0]?.policyTypes, ['Ingress', 'Egress']);
  });
});

const anywhere = { address: '52.216.1.1' };
const stranger = { labels: { app: 'stranger' } };
const asParty = (pod: Pod) => ({ labels: pod.metadata.labels });

test('only storage-proxies may go out to a bucket, and with a volume not even they', () => {
  releases.eachPod((pod, example) => {
    const may = partOf(pod) === 'storage-proxy' && example !== PROXY_ALONE;
    assert.is(releases.of(example).mayDial(pod, anywhere, 443), may, `${example}: ${partOf(pod)}`);
  });
  assert.equal(releases.of(PROXY_ALONE).policies[0]?.egress, []);
});

test('only gateways and workers may reach a storage-proxy, and other clusters where it is said', () => {
  for (const example of [ONE_REGION, US, EU]) {
    const all = releases.of(example);
    const proxy = all.pod('storage-proxy');
    for (const pod of all.pods) {
      const may = partOf(pod) === 'gateway' || partOf(pod) === 'worker';
      assert.is(all.admits(proxy, asParty(pod), 7070), may, `${partOf(pod)} is let in`);
      assert.is(all.mayDial(pod, asParty(proxy), 7070), may, `${partOf(pod)} is let out`);
    }
    for (const party of [stranger, anywhere]) assert.not(all.admits(proxy, party, 7070));
  }
  const proxy = releases.of(US).pod('storage-proxy');
  assert.ok(releases.of(US).admits(proxy, { address: '10.2.3.4' }, 7070));
  assert.not(releases.of(US).admits(proxy, { address: '10.1.3.4' }, 7070));
  assert.not(releases.of(US).admits(proxy, { address: '10.2.3.4' }, 9090));
  const gateway = releases.of(US).pod('gateway');
  assert.ok(releases.of(US).mayDial(gateway, { address: '10.2.3.4' }, 7070));
  assert.not(releases.of(US).mayDial(gateway, anywhere, 7070));
});

test('clients reach gateways alone; the database is for those who need it', () => {
  const us = releases.of(US);
  for (const pod of us.pods) {
    const part = partOf(pod);
    const port = part === 'gateway' ? 8443 : part === 'worker' ? 7090 : 7070;
    assert.is(us.admits(pod, anywhere, port), part === 'gateway', `${part} admits anybody`);
    assert.is(us.mayDial(pod, anywhere, 5432), part !== 'storage-proxy', `${part} reaches the database`);
    assert.is(us.mayDial(pod, anywhere, 6379), part === 'gateway' || part === 'worker', `${part} reaches Redis`);
    assert.not(us.admits(pod, anywhere, 9090));
  }
  for (const pod of us.pods) {
    const may = partOf(pod) === 'gateway';
    assert.is(us.admits(us.pod('worker'), asParty(pod), 7090), may, `workers admit ${partOf(pod)}`);
    assert.is(us.mayDial(pod, asParty(us.pod('worker')), 7090), may, `${partOf(pod)} dials workers`);
  }
  assert.not(us.admits(us.pod('worker'), stranger, 7090));
});

test('traces get out to the collector that the values name, from every server, and without it to nobody', async () => {
  const collector = { address: '10.9.0.4' };
  const elsewhere = { address: '10.8.0.4' };
  const named = '--set=networkPolicy.collector.to[0].ipBlock.cidr=10.9.0.0/16';
  for (const example of [ONE_REGION, US, PROXY_ALONE]) {
    const plain = releases.of(example);
    for (const pod of plain.pods) assert.not(plain.mayDial(pod, collector, 4318), `${example}: ${partOf(pod)}`);
    for (const [port, more] of [
      [4318, [named]],
      [4319, [named, '--set=networkPolicy.collector.port=4319']],
    ] as const) {
      const release = await render(example, ...more);
      for (const pod of release.pods) {
        const what = `${example}: ${partOf(pod)}`;
        // The migration records nothing.
        const may = partOf(pod) !== 'migrate';
        assert.is(release.mayDial(pod, collector, port), may, `${what} at ${port}`);
        assert.is(release.resolves(pod), may || release.mayDial(pod, anywhere, 5432), `${what} asks DNS`);
        assert.not(release.mayDial(pod, elsewhere, port), `${what} dials anybody`);
        assert.not(release.mayDial(pod, collector, port === 4318 ? 4319 : 4318), `${what} at another port`);
      }
    }
  }
  assert.not(releases.of(PROXY_ALONE).resolves(releases.of(PROXY_ALONE).pod('storage-proxy')));
});

test.run();
