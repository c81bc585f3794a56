/** Whether each storage-proxy answers, is the one that is meant, and can reach what its location is kept in. */
import type { LocationConfig } from '../../lib/config/config.js';
import { callUnary } from '../../lib/rpc/call.js';
import { channelOptions, NEAR_WINDOW } from '../../lib/rpc/channel.js';
import { askServing } from '../../lib/rpc/health.js';
import { AdminStub, StorageStub } from '../../lib/rpc/proto.js';
import type { Security } from '../../lib/rpc/security.js';
import type { AdminClient } from '../../proto/generated/entrepot/admin/v1/Admin.js';
import type { StorageClient } from '../../proto/generated/entrepot/storage/v1/Storage.js';
import { reasonOf } from '../output/reason.js';
import { bad, type Finding, good } from './finding.js';

const ANSWER_MS = 3_000;

/** One finding for each node. `markers`: the identity on record of each location's store. */
export async function lookAtNodes(
  locations: readonly LocationConfig[],
  markers: ReadonlyMap<string, string>,
  security: Security,
): Promise<Finding[]> {
  const looks = locations.flatMap(({ name, nodes }) =>
    nodes.map((address, index) =>
      lookAtNode(name, address, `ENTREPOT_LOCATIONS.${name}.nodes[${index}]`, markers, security),
    ),
  );
  return Promise.all(looks);
}

async function lookAtNode(
  location: string,
  address: string,
  key: string,
  markers: ReadonlyMap<string, string>,
  security: Security,
): Promise<Finding> {
  let stub: StorageClient | undefined;
  try {
    stub = new StorageStub(...security.dial(address, 'storage-proxy', channelOptions(NEAR_WINDOW)));
    const client = stub;
    const node = await callUnary(client.describe.bind(client), {}, {}, ANSWER_MS);
    if (node.location !== location)
      return bad(location, key, `the node at ${address} serves ${node.location}, not ${location}`);
    const marker = markers.get(location);
    if (marker !== undefined && node.locationId !== marker)
      return bad(location, key, `the store behind ${address} is not the one that ${location} was kept in before`);
    const [other] = [...markers].find(([name, id]) => name !== location && id === node.locationId) ?? [];
    if (other !== undefined)
      return bad(location, key, `the store behind ${address} is the one that ${other} is kept in: give each its own`);
    const [reads, writes] = await Promise.all(
      ['entrepot.storage.read', 'entrepot.storage.write'].map(name => askServing(client, name, ANSWER_MS)),
    );
    const text = `${address}: ${node.engine}, ${node.version}`;
    if (reads && writes) return good(location, `${text}; reads and writes`);
    const cannot = reads ? 'write' : writes ? 'read' : 'neither read nor write';
    const cause = `the node at ${address} answers, but can${reads === writes ? '' : 'not'} ${cannot} what it keeps blobs in (${node.engine}) now: its log says why`;
    return bad(location, key, cause);
  } catch (error) {
    return bad(location, key, `the node at ${address} does not answer: ${reasonOf(error)}`);
  } finally {
    stub?.close();
  }
}

/** Whether each of the workers that the `entrepot` command may ask answers. */
export function lookAtWorkers(addresses: readonly string[], security: Security): Promise<Finding[]> {
  return Promise.all(
    addresses.map(async (address, index) => {
      const key = `ENTREPOT_ADMIN_SERVERS[${index}]`;
      let stub: AdminClient | undefined;
      try {
        stub = new AdminStub(...security.dial(address, 'worker', channelOptions(NEAR_WINDOW)));
        if (await askServing(stub, '', ANSWER_MS)) return good('worker', `${address} answers`);
        return bad('worker', key, `the worker at ${address} is shutting down`);
      } catch (error) {
        return bad('worker', key, `the worker at ${address} does not answer: ${reasonOf(error)}`);
      } finally {
        stub?.close();
      }
    }),
  );
}
