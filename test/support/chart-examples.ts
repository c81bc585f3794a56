/** The chart's examples, rendered once for each file of tests. */
import { type Pod, type Release, render } from './chart.js';

/** The examples' files of values. */
export const ONE_REGION = 'one-region/values.yaml';
export const US = 'two-clusters/us.yaml';
export const EU = 'two-clusters/eu.yaml';
export const PROXY_ALONE = 'storage-proxy-alone/values.yaml';
export const REMOTE_WORKER = 'remote-worker/values.yaml';

/** Every example, with the Secrets that it is about and the files that they are made of. */
export const examples: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  [ONE_REGION]: { 'entrepot-config': 'one-region/config.yaml', 'entrepot-usstorage': 'one-region/usstorage.yaml' },
  [US]: { 'entrepot-config': 'two-clusters/config.yaml', 'entrepot-usstorage': 'two-clusters/usstorage.yaml' },
  [EU]: { 'entrepot-config': 'two-clusters/config.yaml', 'entrepot-eustorage': 'two-clusters/eustorage.yaml' },
  [PROXY_ALONE]: {},
  [REMOTE_WORKER]: { 'entrepot-config': 'remote-worker/config.yaml' },
};

/** All examples, rendered. */
export async function renderExamples(): Promise<Releases> {
  const rendered = await Promise.all(Object.keys(examples).map(async name => [name, await render(name)] as const));
  return new Releases(new Map(rendered));
}

export class Releases {
  readonly all: ReadonlyMap<string, Release>;

  constructor(all: ReadonlyMap<string, Release>) {
    this.all = all;
  }

  of(example: string): Release {
    const found = this.all.get(example);
    if (!found) throw new Error(`${example} is no example`);
    return found;
  }

  /** Every pod of every example; fails if they are not as many as are known to be there. */
  eachPod(look: (pod: Pod, example: string, release: Release) => void): void {
    const pods = [...this.all].flatMap(([example, release]) => release.pods.map(pod => ({ pod, example, release })));
    if (pods.length !== 14) throw new Error(`the examples have ${pods.length} pods instead of 14`);
    for (const { pod, example, release } of pods) look(pod, example, release);
  }
}
