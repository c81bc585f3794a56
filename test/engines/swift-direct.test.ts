import { SWIFT_NEEDS, startSwift } from '../stores/swift.js';
import { contract, contractOptions, openEngine } from './contract.js';

contract('Swift, the engine itself', async () => openEngine(await startSwift()), contractOptions(SWIFT_NEEDS));
