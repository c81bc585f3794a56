import { startVersity, VERSITY_NEEDS } from '../stores/versity.js';
import { contract, contractOptions, openEngine } from './contract.js';

contract('Versity, the engine itself', async () => openEngine(await startVersity()), contractOptions(VERSITY_NEEDS));
