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
import {
  CHART,
  containerOf,
  EXAMPLES,
  environmentOf,
  partOf,
  type Release,
  render,
  secretsOf,
  tryToRender,
} from '../support/chart.js';
import {
  EU,
  examples,
  ONE_REGION,
  PROXY_ALONE,
  REMOTE_WORKER,
  type Releases,
  renderExamples,
  US,
} from '../support/chart-examples.js';
import { run } from '../support/command.js';
import { suite } from '../support/suite.js';

const test = suite('helm chart', { needs: ['helm'], timeoutMs: 60_000 });

let releases: Releases;
test.before(async () => {
  releases = await renderExamples();
});

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
  assert.match(containerOf(releases.of(US).pod('gateway')).image, new RegExp(`/entrepot:${version}$`));
});

test("the keys to a bucket are mounted by its storage-proxies alone, and these mount nobody else's", () => {
  const names = Object.values(examples).flatMap(files => Object.keys(files));
  releases.eachPod((pod, example) => {
    const mounted = secretsOf(pod).filter(name => names.includes(name));
    const own = Object.keys(examples[example] ?? {}).filter(name =>
      partOf(pod) === 'storage-proxy' ? name !== 'entrepot-config' : name === 'entrepot-config',
    );
    assert.equal(mounted, own, `${example}: ${partOf(pod)}`);
  });
});

test('no container is root, can become it, or writes to more than a volume of its own', () => {
  releases.eachPod((pod, example) => {
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
    for (const pod of releases.of(example).pods) {
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
  const alone = releases.of(PROXY_ALONE);
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
  const [us, eu] = [US, EU].map(name => environmentOf(releases.of(name).pod('gateway'), 'x'));
  assert.is(us?.[PREFERENCE_VARIABLE], 'usstorage eustorage');
  assert.is(eu?.[PREFERENCE_VARIABLE], 'eustorage usstorage');
  const nodes = z.record(z.string(), z.object({ nodes: z.array(z.string()) }));
  const inUs = nodes.parse(JSON.parse(us?.ENTREPOT_LOCATIONS ?? ''));
  assert.equal(inUs.eustorage?.nodes, ['storage-0.eu.example.com:7070', 'storage-1.eu.example.com:7070']);
  assert.equal(
    inUs.usstorage?.nodes,
    [0, 1].map(n => `entrepot-storage-usstorage-${n}.entrepot-storage-usstorage.registry.svc.cluster.local:7070`),
  );
  const services = releases
    .of(US)
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

test('probes ask what can be answered, and a pod has the time that its process may take to end', () => {
  releases.eachPod((pod, example) => {
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
  const hooks = releases
    .of(ONE_REGION)
    .objects.filter(({ metadata }) => metadata.annotations['helm.sh/hook'] !== undefined);
  assert.equal(hooks.map(({ kind }) => kind).sort(), ['Job', 'NetworkPolicy']);
  for (const { metadata } of hooks) assert.is(metadata.annotations['helm.sh/hook'], 'pre-install,pre-upgrade');
});

test('gateways have no way in from outside unless one is asked for', async () => {
  const kinds = (of: Release) => ['Ingress', 'HTTPRoute', 'Route'].filter(kind => of.kind(kind).length > 0);
  assert.equal(kinds(releases.of(US)), []);
  assert.equal(kinds(releases.of(ONE_REGION)), ['Ingress']);
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
  [US, 'terminationGracePeriodSeconds=60', /at '\/terminationGracePeriodSeconds': minimum: got 60, want 66/],
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
