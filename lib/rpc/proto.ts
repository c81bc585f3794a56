/**
 * Loads the .proto files at run time, with the same options that the stubs in proto/generated are made with
 * (`npm run generate`): the types are true only while the two agree.
 */
import { fileURLToPath } from 'node:url';
import { loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync, type Options, type PackageDefinition } from '@grpc/proto-loader';
import type { ProtoGrpcType as AdminProto } from '../../proto/generated/admin.js';
import type { ProtoGrpcType as CrossingProto } from '../../proto/generated/crossing.js';
import type { ProtoGrpcType as StorageProto } from '../../proto/generated/storage.js';
import { withFrames } from './frames.js';

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

const load = (file: string) => loadSync(file, PROTO_OPTIONS);
const stubs = (definitions: PackageDefinition) => loadPackageDefinition(definitions) as unknown;

const storage = withFrames(load(STORAGE_PROTO), 'entrepot.storage.v1.Storage', {
  ReadBlob: { response: { size: 1, data: 2 } },
  AppendUpload: { request: { data: 2, oneof: 'part' } },
});

const crossing = withFrames(load(CROSSING_PROTO), 'entrepot.crossing.v1.Crossing', {
  Follow: { response: { data: 1, oneof: 'event' } },
});

/** The client class of `entrepot.storage.v1.Storage`. */
export const StorageStub = (stubs(storage) as StorageProto).entrepot.storage.v1.Storage;

/** The client class of `entrepot.crossing.v1.Crossing`. */
export const CrossingStub = (stubs(crossing) as CrossingProto).entrepot.crossing.v1.Crossing;

/** The client class of `entrepot.admin.v1.Admin`. */
export const AdminStub = (stubs(load(ADMIN_PROTO)) as AdminProto).entrepot.admin.v1.Admin;
