/**
 * Loads the .proto files at run time, with the same options that the stubs in proto/generated are made with
 * (`npm run generate`): the types are true only while the two agree.
 */
import { fileURLToPath } from 'node:url';
import { loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync, type Options } from '@grpc/proto-loader';
import type { ProtoGrpcType as AdminProto } from '../../proto/generated/admin.js';
import type { ProtoGrpcType as CrossingProto } from '../../proto/generated/crossing.js';
import type { ProtoGrpcType as StorageProto } from '../../proto/generated/storage.js';

const ROOT = fileURLToPath(new URL('../../../proto', import.meta.url));

/** How the files are loaded. */
export const PROTO_OPTIONS: Options = {
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
  includeDirs: [ROOT],
};

export const STORAGE_PROTO = 'entrepot/storage/v1/storage.proto';
export const CROSSING_PROTO = 'entrepot/crossing/v1/crossing.proto';
export const ADMIN_PROTO = 'entrepot/admin/v1/admin.proto';

const load = (file: string) => loadPackageDefinition(loadSync(file, PROTO_OPTIONS)) as unknown;

/** The client class of `entrepot.storage.v1.Storage`. */
export const StorageStub = (load(STORAGE_PROTO) as StorageProto).entrepot.storage.v1.Storage;

/** The client class of `entrepot.crossing.v1.Crossing`. */
export const CrossingStub = (load(CROSSING_PROTO) as CrossingProto).entrepot.crossing.v1.Crossing;

/** The client class of `entrepot.admin.v1.Admin`. */
export const AdminStub = (load(ADMIN_PROTO) as AdminProto).entrepot.admin.v1.Admin;
