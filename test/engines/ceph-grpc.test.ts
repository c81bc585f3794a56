import { CEPH_NEEDS, startCeph } from '../stores/ceph.js';
import { contract, contractOptions, openRemote } from './contract.js';

contract('Ceph, over gRPC', async () => openRemote(await startCeph()), contractOptions(CEPH_NEEDS));
