import { SWIFT_NEEDS, startSwift } from '../stores/swift.js';
import { s3Cases } from './s3-cases.js';

s3Cases('Swift', startSwift, SWIFT_NEEDS);
