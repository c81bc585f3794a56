import { CEPH_NEEDS, startCeph } from '../stores/ceph.js';
import { s3Cases } from './s3-cases.js';

s3Cases('Ceph', startCeph, CEPH_NEEDS);
