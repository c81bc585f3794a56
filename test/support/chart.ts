/** What `helm template` makes of the chart, as the tests look at it: objects of Kubernetes, read with care. */
import { BlockList } from 'node:net';
import { fileURLToPath } from 'node:url';
import { parseAllDocuments } from 'yaml';
import { z } from 'zod';
import { attempt, type CommandEnd, run } from './command.js';

export const CHART = fileURLToPath(new URL('../../../deploy/helm/entrepot', import.meta.url));
export const EXAMPLES = fileURLToPath(new URL('../../../deploy/helm/examples', import.meta.url));

const labels = z.record(z.string(), z.string());
const probe = z.looseObject({
  httpGet: z.object({ path: z.string() }).optional(),
  tcpSocket: z.unknown().optional(),
  grpc: z.unknown().optional(),
});
const container = z.looseObject({
  name: z.string(),
  image: z.string(),
  args: z.array(z.string()),
  securityContext: z.record(z.string(), z.unknown()),
  env: z
    .array(z.object({ name: z.string(), value: z.string().optional(), valueFrom: z.unknown().optional() }))
    .default([]),
  volumeMounts: z.array(z.object({ name: z.string(), mountPath: z.string(), readOnly: z.boolean().default(false) })),
  livenessProbe: probe.optional(),
  readinessProbe: probe.optional(),
});
const volume = z.looseObject({
  name: z.string(),
  secret: z.object({ secretName: z.string() }).optional(),
  configMap: z.object({ name: z.string() }).optional(),
  projected: z.object({ sources: z.array(z.object({ secret: z.object({ name: z.string() }) })) }).optional(),
});
const podTemplate = z.object({
  metadata: z.object({ labels }),
  spec: z.looseObject({
    automountServiceAccountToken: z.boolean(),
    terminationGracePeriodSeconds: z.number().optional(),
    securityContext: z.record(z.string(), z.unknown()),
    initContainers: z.array(z.unknown()).default([]),
    containers: z.array(container).length(1),
    volumes: z.array(volume),
  }),
});
const peer = z.strictObject({
  podSelector: z.strictObject({ matchLabels: labels }).optional(),
  namespaceSelector: z.strictObject({ matchLabels: labels }).optional(),
  ipBlock: z.strictObject({ cidr: z.string() }).optional(),
});
const ports = z.array(z.object({ port: z.number(), protocol: z.string() }));
const policySpec = z.strictObject({
  podSelector: z.strictObject({ matchLabels: labels }),
  policyTypes: z.array(z.string()),
  ingress: z.array(z.strictObject({ from: z.array(peer).optional(), ports })).default([]),
  egress: z.array(z.strictObject({ to: z.array(peer).optional(), ports })).default([]),
});
const object = z.looseObject({
  apiVersion: z.string(),
  kind: z.string(),
  metadata: z.looseObject({ name: z.string(), labels, annotations: labels.default({}) }),
});

export type KubernetesObject = z.infer<typeof object>;
export type Pod = z.infer<typeof podTemplate>;
export type Policy = z.infer<typeof policySpec>;
type Labels = Readonly<Record<string, string>>;

/** Someone in the network: a pod of the release's namespace by its labels, or a machine elsewhere by its address. */
export type Party = { readonly labels: Labels } | { readonly address: string };

/** helm's parameters that come before the files of values. The version is what the oldest supported cluster has. */
const template = (values: string, more: readonly string[]) => [
  ...['template', 'entrepot', CHART, '--namespace', 'registry', '--kube-version', '1.27.0'],
  ...['--values', `${EXAMPLES}/${values}`, ...more],
];

/** The objects of a release with an example's values, and perhaps more. */
export async function render(values: string, ...more: string[]): Promise<Release> {
  const documents = parseAllDocuments(await run('helm', template(values, more)));
  for (const { errors } of documents) if (errors[0]) throw errors[0];
  return new Release(documents.map(each => each.toJS()).flatMap(each => (each ? [object.parse(each)] : [])));
}

/** The same where helm is expected to refuse. */
export function tryToRender(values: string, ...more: string[]): Promise<CommandEnd> {
  return attempt('helm', template(values, more));
}

export class Release {
  readonly objects: readonly KubernetesObject[];

  constructor(objects: readonly KubernetesObject[]) {
    this.objects = objects;
  }

  kind(kind: string): KubernetesObject[] {
    return this.objects.filter(each => each.kind === kind);
  }

  /** What pods are made from, whatever makes them. */
  get pods(): Pod[] {
    const spec = z.looseObject({ template: podTemplate });
    return this.objects
      .filter(({ kind }) => ['Deployment', 'StatefulSet', 'Job', 'DaemonSet', 'CronJob', 'Pod'].includes(kind))
      .map(each => spec.parse(each.spec).template);
  }

  /** The one pod of a part. */
  pod(part: string): Pod {
    const found = this.pods.filter(pod => partOf(pod) === part);
    if (found.length !== 1 || !found[0]) throw new Error(`${found.length} pods are a ${part}`);
    return found[0];
  }

  get policies(): Policy[] {
    return this.kind('NetworkPolicy').map(each => policySpec.parse(each.spec));
  }

  /** Whether the policies of `pod` let it dial `to`. */
  mayDial(pod: Pod, to: Party, port: number): boolean {
    return this.#of(pod).every(({ egress }) =>
      egress.some(rule => hasPort(rule.ports, port) && (rule.to?.some(each => isPeer(each, to)) ?? true)),
    );
  }

  /** Whether the policies of `pod` let it ask any DNS server. */
  resolves(pod: Pod): boolean {
    return this.#of(pod).every(({ egress }) =>
      egress.some(
        ({ to, ports }) => to === undefined && ports.some(each => each.port === 53 && each.protocol === 'UDP'),
      ),
    );
  }

  /** Whether the policies of `pod` let `from` in. */
  admits(pod: Pod, from: Party, port: number): boolean {
    return this.#of(pod).every(({ ingress }) =>
      ingress.some(rule => hasPort(rule.ports, port) && (rule.from?.some(each => isPeer(each, from)) ?? true)),
    );
  }

  #of(pod: Pod): Policy[] {
    return this.policies.filter(({ podSelector }) => selects(podSelector.matchLabels, pod.metadata.labels));
  }
}

export const partOf = (pod: Pod) => pod.metadata.labels['app.kubernetes.io/component'];

/** Its one container. */
export function containerOf(pod: Pod): z.infer<typeof container> {
  const [first] = pod.spec.containers;
  if (!first) throw new Error('a pod without a container');
  return first;
}

/** All Secrets that a pod names, wherever in its description that is. */
export function secretsOf(pod: Pod): string[] {
  const found = new Set<string>();
  const look = (value: unknown, key: string): void => {
    if (typeof value !== 'object' || value === null) return;
    const reference = z
      .object({ secretName: z.string() })
      .or(z.object({ name: z.string() }))
      .safeParse(value);
    if (/^secret/i.test(key) && reference.success) {
      found.add('secretName' in reference.data ? reference.data.secretName : reference.data.name);
    }
    for (const [name, each] of Object.entries(value)) look(each, Array.isArray(value) ? key : name);
  };
  look(pod.spec, '');
  return [...found];
}

/** What a container's process finds in its environment. */
export function environmentOf(pod: Pod, podName: string): Record<string, string> {
  const expand = (text: string) => text.replaceAll('$(POD_NAME)', podName);
  return Object.fromEntries(
    containerOf(pod).env.map(({ name, value }) => [name, value === undefined ? podName : expand(value)]),
  );
}

export function selects(selector: Labels, of: Labels): boolean {
  return Object.entries(selector).every(([name, value]) => of[name] === value);
}

function hasPort(list: z.infer<typeof ports>, port: number): boolean {
  return list.some(each => each.port === port && each.protocol === 'TCP');
}

/** A peer in another namespace is none of the parties here. */
function isPeer({ podSelector, namespaceSelector, ipBlock }: z.infer<typeof peer>, party: Party): boolean {
  if ('labels' in party)
    return podSelector !== undefined && !namespaceSelector && selects(podSelector.matchLabels, party.labels);
  if (!ipBlock) return false;
  const [address = '', bits] = ipBlock.cidr.split('/');
  const block = new BlockList();
  block.addSubnet(address, Number(bits), 'ipv4');
  return block.check(party.address, 'ipv4');
}
