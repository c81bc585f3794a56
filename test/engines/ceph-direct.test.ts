import { CEPH_NEEDS, startCeph } from '../stores/ceph.js';
import { contract, contractOptions, openEngine } from './contract.js';

contract('Ceph, the engine itself', async () => openEngine(await startCeph()), contractOptions(CEPH_NEEDS));
