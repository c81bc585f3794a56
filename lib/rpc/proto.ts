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

const OPTIONS: Options = { longs: Number, enums: String, defaults: true, oneofs: true, includeDirs: [ROOT] };

/** The definitions of storage.proto, also for server reflection. */
export const storagePackage: PackageDefinition = withFrames(
  loadSync('entrepot/storage/v1/storage.proto', OPTIONS),
  'entrepot.storage.v1.Storage',
  { ReadBlob: { response: { size: 1, data: 2 } }, AppendUpload: { request: { data: 2, oneof: 'part' } } },
);

const storage = (loadPackageDefinition(storagePackage) as unknown as StorageProto).entrepot.storage.v1;

/** The client class of `entrepot.storage.v1.Storage`. */
export const StorageStub = storage.Storage;

/** The definitions of crossing.proto. */
export const crossingPackage: PackageDefinition = withFrames(
  loadSync('entrepot/crossing/v1/crossing.proto', OPTIONS),
  'entrepot.crossing.v1.Crossing',
  { Follow: { response: { data: 1, oneof: 'event' } } },
);

const crossing = (loadPackageDefinition(crossingPackage) as unknown as CrossingProto).entrepot.crossing.v1;

/** The client class of `entrepot.crossing.v1.Crossing`. */
export const CrossingStub = crossing.Crossing;

/** The definitions of admin.proto, also for server reflection. */
export const adminPackage: PackageDefinition = loadSync('entrepot/admin/v1/admin.proto', OPTIONS);

const admin = (loadPackageDefinition(adminPackage) as unknown as AdminProto).entrepot.admin.v1;

/** The client class of `entrepot.admin.v1.Admin`. */
export const AdminStub = admin.Admin;
