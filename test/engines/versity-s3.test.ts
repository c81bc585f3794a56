import { startVersity, VERSITY_NEEDS } from '../stores/versity.js';
import { s3Cases } from './s3-cases.js';

s3Cases('Versity', startVersity, VERSITY_NEEDS, { canBeFull: false });
