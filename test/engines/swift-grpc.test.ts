import { SWIFT_NEEDS, startSwift } from '../stores/swift.js';
import { contract, contractOptions, openRemote } from './contract.js';

contract('Swift, over gRPC', async () => openRemote(await startSwift()), contractOptions(SWIFT_NEEDS));
