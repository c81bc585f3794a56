/** LocalStorage beside the others in the table: the plain tier's two files, as they are. */
import '../contract/local.test.js';
import '../contract/grpc.test.js';
