/** Whether each storage-proxy answers, is the one that is meant, and can reach what its location is kept in. */
import type { LocationConfig } from '../../lib/config/config.js';
import { callUnary } from '../../lib/rpc/call.js';
import { channelCredentials, channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { askServing } from '../../lib/rpc/health.js';
import { AdminStub, StorageStub } from '../../lib/rpc/proto.js';
import { reasonOf } from '../output/reason.js';
import { bad, type Finding, good } from './finding.js';

const ANSWER_MS = 3_000;

/** One finding for each node. `markers`: the identity on record of each location's store. */
export async function lookAtNodes(
  locations: readonly LocationConfig[],
  markers: ReadonlyMap<string, string>,
): Promise<Finding[]> {
  const looks = locations.flatMap(({ name, nodes }) =>
    nodes.map((address, index) =>
      lookAtNode(name, address, `ENTREPOT_LOCATIONS.${name}.nodes[${index}]`, markers.get(name)),
    ),
  );
  return Promise.all(looks);
}

async function lookAtNode(location: string, address: string, key: string, marker: string | undefined) {
  const stub = new StorageStub(address, channelCredentials(), channelOptions(NEAR_WINDOW));
  try {
    const node = await callUnary(stub.describe.bind(stub), {}, {}, ANSWER_MS);
    if (node.location !== location)
      return bad(location, key, `the node at ${address} serves ${node.location}, not ${location}`);
    if (marker !== undefined && node.locationId !== marker)
      return bad(location, key, `the store behind ${address} is not the one that ${location} was kept in before`);
    const [reads, writes] = await Promise.all(
      ['entrepot.storage.read', 'entrepot.storage.write'].map(name => askServing(stub, name, ANSWER_MS)),
    );
    const text = `${address}: ${node.engine}, ${node.version}`;
    if (reads && writes) return good(location, `${text}; reads and writes`);
    const cannot = reads ? 'write' : writes ? 'read' : 'neither read nor write';
    const cause = `the node at ${address} answers, but can${reads === writes ? '' : 'not'} ${cannot} what it keeps blobs in (${node.engine}) now: its log says why`;
    return bad(location, key, cause);
  } catch (error) {
    return bad(location, key, `the node at ${address} does not answer: ${reasonOf(error)}`);
  } finally {
    stub.close();
  }
}

/** Whether each of the workers that the `entrepot` command may ask answers. */
export function lookAtWorkers(addresses: readonly string[]): Promise<Finding[]> {
  return Promise.all(
    addresses.map(async (address, index) => {
      const stub = new AdminStub(address, channelCredentials(), channelOptions(NEAR_WINDOW));
      const key = `ENTREPOT_ADMIN_SERVERS[${index}]`;
      try {
        if (await askServing(stub, '', ANSWER_MS)) return good('worker', `${address} answers`);
        return bad('worker', key, `the worker at ${address} is shutting down`);
      } catch (error) {
        return bad('worker', key, `the worker at ${address} does not answer: ${reasonOf(error)}`);
      } finally {
        stub.close();
      }
    }),
  );
}
