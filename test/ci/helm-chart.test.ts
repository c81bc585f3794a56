/**
 * The Helm chart, as far as it can be judged without a cluster: helm takes it, what comes out is closed as it should be,
 * and the processes' own reading of the configuration takes what they would be given.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { z } from 'zod';
import { ENTREPOT_KEYS, PREFERENCE_VARIABLE } from '../../lib/config/keys.js';
import { loadConfig } from '../../lib/config/load.js';
import { DRAIN_MS, OVERTIME_MS } from '../../lib/process/run.js';
import { version } from '../../lib/process/version.js';
import { identityOf } from '../../lib/tls/identity.js';
import {
  CHART,
  containerOf,
  EXAMPLES,
  environmentOf,
  type Pod,
  partOf,
  type Release,
  render,
  secretsOf,
  selects,
  tryToRender,
} from '../support/chart.js';
import { run } from '../support/command.js';
import { suite } from '../support/suite.js';

const test = suite('helm chart', { needs: ['helm'], timeoutMs: 60_000 });

const ONE_REGION = 'one-region/values.yaml';
const US = 'two-clusters/us.yaml';
const EU = 'two-clusters/eu.yaml';
const PROXY_ALONE = 'storage-proxy-alone/values.yaml';
const REMOTE_WORKER = 'remote-worker/values.yaml';

/** Every example, with the Secrets that it is about and the files that they are made of. */
const examples: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  [ONE_REGION]: { 'entrepot-config': 'one-region/config.yaml', 'entrepot-usstorage': 'one-region/usstorage.yaml' },
  [US]: { 'entrepot-config': 'two-clusters/config.yaml', 'entrepot-usstorage': 'two-clusters/usstorage.yaml' },
  [EU]: { 'entrepot-config': 'two-clusters/config.yaml', 'entrepot-eustorage': 'two-clusters/eustorage.yaml' },
  [PROXY_ALONE]: {},
  [REMOTE_WORKER]: { 'entrepot-config': 'remote-worker/config.yaml' },
};
const releases = new Map<string, Release>();

test.before(async () => {
  const rendered = await Promise.all(Object.keys(examples).map(async name => [name, await render(name)] as const));
  for (const [name, release] of rendered) releases.set(name, release);
});

function release(name: string): Release {
  const found = releases.get(name);
  assert.ok(found, `${name} was rendered`);
  return found;
}

/** Every pod of every example. */
function eachPod(look: (pod: Pod, example: string) => void): void {
  let count = 0;
  for (const [example, { pods }] of releases) {
    for (const pod of pods) look(pod, example);
    count += pods.length;
  }
  assert.is(count, 14);
}

test('helm lint finds nothing with any example, and every example is tried', async () => {
  const files = await readdir(EXAMPLES, { recursive: true });
  const values = await Promise.all(
    files
      .filter(file => /\/.*\.yaml$/.test(file))
      .map(async file => [file, await readFile(join(EXAMPLES, file), 'utf8')]),
  );
  const ofValues = values.filter(([, text]) => text?.includes('\nimage:')).map(([file]) => file);
  assert.equal(ofValues.sort(), Object.keys(examples).sort());
  const lines = Object.keys(examples).flatMap(name => ['--values', `${EXAMPLES}/${name}`].slice(1));
  await Promise.all(
    lines.map(file => run('helm', ['lint', '--strict', '--kube-version', '1.27.0', CHART, '--values', file])),
  );
});

test('the chart is of the version that it installs', async () => {
  const chart: unknown = parse(await readFile(join(CHART, 'Chart.yaml'), 'utf8'));
  assert.is(z.looseObject({ appVersion: z.string() }).parse(chart).appVersion, version);
  assert.match(containerOf(release(US).pod('gateway')).image, new RegExp(`/entrepot:${version}$`));
});

test("the keys to a bucket are mounted by its storage-proxies alone, and these mount nobody else's", () => {
  const names = Object.values(examples).flatMap(files => Object.keys(files));
  eachPod((pod, example) => {
    const mounted = secretsOf(pod).filter(name => names.includes(name));
    const own = Object.keys(examples[example] ?? {}).filter(name =>
      partOf(pod) === 'storage-proxy' ? name !== 'entrepot-config' : name === 'entrepot-config',
    );
    assert.equal(mounted, own, `${example}: ${partOf(pod)}`);
  });
});

test('no container is root, can become it, or writes to more than a volume of its own', () => {
  eachPod((pod, example) => {
    const which = `${example}: ${partOf(pod)}`;
    assert.equal(pod.spec.initContainers, [], which);
    assert.is(pod.spec.automountServiceAccountToken, false, which);
    assert.equal(
      pod.spec.securityContext,
      { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' }, runAsUser: 1001, fsGroup: 1001 },
      which,
    );
    assert.equal(
      containerOf(pod).securityContext,
      {
        runAsNonRoot: true,
        allowPrivilegeEscalation: false,
        privileged: false,
        readOnlyRootFilesystem: true,
        capabilities: { drop: ['ALL'] },
        seccompProfile: { type: 'RuntimeDefault' },
      },
      which,
    );
    const writable = containerOf(pod).volumeMounts.filter(({ readOnly }) => !readOnly);
    assert.equal(
      writable.map(({ mountPath }) => mountPath),
      example === PROXY_ALONE ? ['/data'] : [],
      which,
    );
  });
});

test('OpenShift gives users and groups itself', async () => {
  const there = await render(ONE_REGION, '--api-versions', 'security.openshift.io/v1');
  for (const { spec } of there.pods) {
    assert.equal(spec.securityContext, { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } });
  }
});

test('every process takes the configuration that it would be given', async () => {
  for (const [example, files] of Object.entries(examples)) {
    for (const pod of release(example).pods) {
      const part = partOf(pod);
      const secret = secretsOf(pod).find(name => files[name] !== undefined);
      if (secret === undefined) continue; // Its file is the chart's own: see below.
      const env = environmentOf(pod, 'entrepot-x-0');
      for (const name of Object.keys(env)) {
        const known = [...ENTREPOT_KEYS, PREFERENCE_VARIABLE, 'POD_NAME'].some(key => key === name);
        assert.ok(known, `${example}: ${part} is given ${name}`);
      }
      const role = part === 'migrate' ? 'cli' : z.enum(['gateway', 'storage-proxy', 'worker']).parse(part);
      const config = loadConfig({ role, env, file: join(EXAMPLES, files[secret] ?? '') });
      assert.equal(config.notices, [], `${example}: ${part}`);
      assert.equal(containerOf(pod).args, [part]);
      if (role === 'cli') continue;
      assert.is(config.grpc.tls?.key, '/conf/grpc/tls.key');
      if (role === 'storage-proxy') assert.is(config.owned?.name, pod.metadata.labels['entrepot/location']);
      else assert.ok(config.locations.every(({ nodes }) => nodes.length > 0));
    }
  }
});

test('a storage-proxy on a volume needs no Secret with a configuration', async () => {
  const alone = release(PROXY_ALONE);
  const pod = alone.pod('storage-proxy');
  assert.equal(secretsOf(pod), ['storage-ap-grpc']);
  const [map] = alone.kind('ConfigMap');
  const name = pod.spec.volumes.find(volume => volume.name === 'config')?.configMap?.name;
  assert.is(map?.metadata.name, name);
  const text = z.object({ 'config.yaml': z.string() }).parse(map?.data)['config.yaml'];
  assert.equal(parse(text), { DISTRIBUTED_STORAGE_CONFIG: { apstorage: ['LocalStorage', { storage_path: '/data' }] } });
  assert.equal(alone.kind('Deployment').length + alone.kind('Job').length, 0);
});

test('two clusters have the same Secret and other preferences, and find each other', async () => {
  const [us, eu] = [US, EU].map(name => environmentOf(release(name).pod('gateway'), 'x'));
  assert.is(us?.[PREFERENCE_VARIABLE], 'usstorage eustorage');
  assert.is(eu?.[PREFERENCE_VARIABLE], 'eustorage usstorage');
  const nodes = z.record(z.string(), z.object({ nodes: z.array(z.string()) }));
  const inUs = nodes.parse(JSON.parse(us?.ENTREPOT_LOCATIONS ?? ''));
  assert.equal(inUs.eustorage?.nodes, ['storage-0.eu.example.com:7070', 'storage-1.eu.example.com:7070']);
  assert.equal(
    inUs.usstorage?.nodes,
    [0, 1].map(n => `entrepot-storage-usstorage-${n}.entrepot-storage-usstorage.registry.svc.cluster.local:7070`),
  );
  const services = release(US)
    .kind('Service')
    .map(({ metadata, spec }) => ({
      name: metadata.name,
      spec: z.looseObject({ type: z.string().optional() }).parse(spec),
    }));
  const exposed = services.filter(({ spec }) => spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local');
  assert.equal(
    exposed.map(({ name }) => name),
    ['entrepot-storage-usstorage-0', 'entrepot-storage-usstorage-1'],
  );
});

test('certificates say what each part is, and have the names that it is dialled by', () => {
  const spec = z.looseObject({
    uris: z.array(z.string()).length(1),
    dnsNames: z.array(z.string()).default([]),
    secretName: z.string(),
  });
  for (const example of [ONE_REGION, US, EU]) {
    const certificates = release(example)
      .kind('Certificate')
      .filter(({ metadata }) => metadata.labels['app.kubernetes.io/component'] !== 'authority')
      .map(each => spec.parse(each.spec));
    assert.is(certificates.length, 3);
    const dialled = new Map<string | undefined, string[]>();
    const worker = environmentOf(release(example).pod('worker'), 'entrepot-worker-1').ENTREPOT_WORKER_ADVERTISE ?? '';
    dialled.set('worker', [worker]);
    const own = /"(entrepot-storage-[^"]+)"/.exec(
      environmentOf(release(example).pod('gateway'), '').ENTREPOT_LOCATIONS ?? '',
    );
    const location = example === EU ? 'eu' : 'us';
    dialled.set('storage-proxy', [
      own?.[1] ?? '',
      ...(example === ONE_REGION ? [] : [`storage-1.${location}.example.com:7070`]),
    ]);
    for (const { uris, dnsNames, secretName } of certificates) {
      const role = identityOf(`URI:${uris[0]}`)?.role;
      assert.ok(role, `${uris[0]} is a role`);
      assert.ok(secretsOf(release(example).pod(role)).includes(secretName), `the ${role} mounts ${secretName}`);
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
  for (const [example, { objects, pods }] of releases) {
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
  eachPod((pod, example) => {
    const policies = release(example).policies.filter(({ podSelector }) =>
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
  eachPod((pod, example) => {
    const may = partOf(pod) === 'storage-proxy' && example !== PROXY_ALONE;
    assert.is(release(example).mayDial(pod, anywhere, 443), may, `${example}: ${partOf(pod)}`);
  });
  assert.equal(release(PROXY_ALONE).policies[0]?.egress, []);
});

test('only gateways and workers may reach a storage-proxy, and other clusters where it is said', () => {
  for (const example of [ONE_REGION, US, EU]) {
    const all = release(example);
    const proxy = all.pod('storage-proxy');
    for (const pod of all.pods) {
      const may = partOf(pod) === 'gateway' || partOf(pod) === 'worker';
      assert.is(all.admits(proxy, asParty(pod), 7070), may, `${partOf(pod)} is let in`);
      assert.is(all.mayDial(pod, asParty(proxy), 7070), may, `${partOf(pod)} is let out`);
    }
    for (const party of [stranger, anywhere]) assert.not(all.admits(proxy, party, 7070));
  }
  const proxy = release(US).pod('storage-proxy');
  assert.ok(release(US).admits(proxy, { address: '10.2.3.4' }, 7070));
  assert.not(release(US).admits(proxy, { address: '10.1.3.4' }, 7070));
  assert.not(release(US).admits(proxy, { address: '10.2.3.4' }, 9090));
  const gateway = release(US).pod('gateway');
  assert.ok(release(US).mayDial(gateway, { address: '10.2.3.4' }, 7070));
  assert.not(release(US).mayDial(gateway, anywhere, 7070));
});

test('clients reach gateways alone; the database is for those who need it', () => {
  const us = release(US);
  for (const pod of us.pods) {
    const part = partOf(pod);
    const port = part === 'gateway' ? 8443 : part === 'worker' ? 7090 : 7070;
    assert.is(us.admits(pod, anywhere, port), part === 'gateway', `${part} admits anybody`);
    assert.is(us.mayDial(pod, anywhere, 5432), part !== 'storage-proxy', `${part} reaches the database`);
    assert.is(us.mayDial(pod, anywhere, 6379), part === 'gateway' || part === 'worker', `${part} reaches Redis`);
    assert.not(us.admits(pod, anywhere, 9090));
  }
  assert.ok(us.admits(us.pod('worker'), asParty(us.pod('gateway')), 7090));
  assert.not(us.admits(us.pod('worker'), stranger, 7090));
});

test('probes ask what can be answered, and a pod has the time that its process may take to end', () => {
  eachPod((pod, example) => {
    const { livenessProbe: live, readinessProbe: ready } = containerOf(pod);
    const part = partOf(pod);
    if (part === 'migrate') return;
    if (part === 'gateway') {
      assert.equal([live?.httpGet?.path, ready?.httpGet?.path], ['/healthz/live', '/healthz/ready']);
    } else {
      // Kubernetes' gRPC probe shows no certificate.
      for (const each of [live, ready]) assert.ok(each?.tcpSocket && !each.grpc, `${example}: ${part}`);
    }
    assert.ok((pod.spec.terminationGracePeriodSeconds ?? 0) * 1000 > DRAIN_MS + OVERTIME_MS, `${example}: ${part}`);
  });
});

test('the database is migrated before anything else of the release is touched', () => {
  const hooks = release(ONE_REGION).objects.filter(
    ({ metadata }) => metadata.annotations['helm.sh/hook'] !== undefined,
  );
  assert.equal(hooks.map(({ kind }) => kind).sort(), ['Job', 'NetworkPolicy']);
  for (const { metadata } of hooks) assert.is(metadata.annotations['helm.sh/hook'], 'pre-install,pre-upgrade');
});

test('gateways have no way in from outside unless one is asked for', async () => {
  const kinds = (of: Release) => ['Ingress', 'HTTPRoute', 'Route'].filter(kind => of.kind(kind).length > 0);
  assert.equal(kinds(release(US)), []);
  assert.equal(kinds(release(ONE_REGION)), ['Ingress']);
  const parent = ['--set', 'gateway.httpRoute.enabled=true,gateway.httpRoute.parentRefs[0].name=public'];
  const route = ['--set', 'gateway.route.enabled=true,gateway.route.termination=passthrough'];
  const all = await render(US, ...parent, '--set', 'gateway.httpRoute.hostnames={registry.example.com}', ...route);
  assert.equal(kinds(all), ['HTTPRoute', 'Route']);
  const [found] = all.kind('Route');
  assert.equal(z.looseObject({ port: z.unknown() }).parse(found?.spec).port, { targetPort: 'https' });
});

test('gateways are scaled by metrics that exist, and by CPU', async () => {
  const documented = await readFile(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');
  const adapter: unknown = parse(await readFile(join(EXAMPLES, 'prometheus-adapter.yaml'), 'utf8'));
  const rule = z.looseObject({ seriesQuery: z.string(), name: z.object({ as: z.string() }) });
  const rules = z.object({ rules: z.object({ custom: z.array(rule) }) }).parse(adapter).rules.custom;
  for (const { seriesQuery } of rules) assert.match(documented, `| \`${seriesQuery.replace(/\{.*/, '')}\` | counter |`);

  const spec = z.looseObject({
    metrics: z.array(
      z.looseObject({ type: z.string(), pods: z.object({ metric: z.object({ name: z.string() }) }).optional() }),
    ),
  });
  const scaled = await render(ONE_REGION, '--set', 'gateway.autoscaling.requestsPerSecond=200');
  const { metrics } = spec.parse(scaled.kind('HorizontalPodAutoscaler')[0]?.spec);
  assert.equal(metrics.flatMap(each => each.pods?.metric.name ?? []).sort(), rules.map(({ name }) => name.as).sort());
  assert.is(metrics.at(-1)?.type, 'Resource');
  const [deployment] = scaled.kind('Deployment');
  assert.not('replicas' in z.looseObject({}).parse(deployment?.spec), 'helm does not set what the autoscaler does');
});

const refusals: readonly (readonly [values: string, set: string, message: RegExp])[] = [
  [US, 'gateway.replicaz=3', /at '\/gateway': additional properties 'replicaz' not allowed/],
  [US, 'gatway.replicas=3', /additional properties 'gatway' not allowed/],
  [
    US,
    'storageProxies.usstorage.bucket=x',
    /at '\/storageProxies\/usstorage': additional properties 'bucket' not allowed/,
  ],
  [US, 'worker.replicas=0', /at '\/worker\/replicas': minimum: got 0, want 1/],
  [
    US,
    'gateway.route.termination=plain',
    /at '\/gateway\/route\/termination': value must be one of 'edge', 'passthrough'/,
  ],
  [US, 'terminationGracePeriodSeconds=30', /at '\/terminationGracePeriodSeconds': minimum: got 30, want 36/],
  [US, 'locations.elsewhere.apstorage={ap}', /at '\/locations\/elsewhere\/apstorage\/0': 'ap' does not match pattern/],
  [US, 'securityContext.runAsUser=0', /at '\/securityContext\/runAsUser': minimum: got 0, want 1/],
  [US, 'config.existingSecret=', /config\.existingSecret is missing: name the Secret with config\.yaml/],
  [US, 'image.repository=', /image\.repository is missing/],
  [US, 'certManager.enabled=false', /grpcSecret is missing: name the Secret with ca\.crt, tls\.crt and tls\.key/],
  [US, 'storageProxies.usstorage.existingSecret=', /storageProxies\.usstorage\.existingSecret is missing/],
  [
    US,
    'storageProxies.usstorage.existingSecret=entrepot-config',
    /gateways and workers would have the keys to the bucket/,
  ],
  [US, 'networkPolicy.remoteCallers=null', /networkPolicy\.remoteCallers lets nobody in/],
  [PROXY_ALONE, 'storageProxies.apstorage.replicas=2', /has 2 replicas and a volume for each/],
  [REMOTE_WORKER, 'metrics.serviceMonitor.enabled=true', /set metrics\.enabled/],
];

test('values that are wrong are refused, with what to do', async () => {
  await Promise.all(
    refusals.map(async ([values, set, message]) => {
      const end = await tryToRender(values, '--set', set);
      assert.is.not(end.code, 0, set);
      assert.match(end.stderr, message, set);
    }),
  );
});

test.run();
