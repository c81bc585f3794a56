/**
 * What a server tells of its services to those who ask by reflection (grpcurl, buf curl).
 *
 * Its clients know a field by the names that reflection gives it: the one in the .proto file, and its name in gRPC's JSON.
 * As @grpc/proto-loader loads files for stubs, reflection would tell the names of the stubs, and `dry_run` would be
 * refused; and it leaves out the JSON names, so that grpcurl would print others than buf curl does.
 */
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import descriptors from 'protobufjs/ext/descriptor/index.js';
import { PROTO_OPTIONS } from './proto.js';

/** The parts of google.protobuf's descriptors that are looked at here. */
interface FileDescriptor {
  readonly messageType: readonly MessageDescriptor[];
}
interface MessageDescriptor {
  readonly field: readonly { readonly name: string; jsonName: string }[];
  readonly nestedType: readonly MessageDescriptor[];
}

/** The definitions of a file, for server reflection only. */
export function loadReflected(file: string): PackageDefinition {
  const loaded = loadSync(file, { ...PROTO_OPTIONS, keepCase: true });
  // Each message and enum carries the same list of files.
  const seen = new Map<readonly Buffer[], Buffer[]>();
  for (const definition of Object.values(loaded)) {
    const { fileDescriptorProtos: files } = definition;
    if (!Array.isArray(files)) continue;
    const named = seen.get(files) ?? files.map(withJsonNames);
    seen.set(files, named);
    definition.fileDescriptorProtos = named;
  }
  return loaded;
}

function withJsonNames(bytes: Buffer): Buffer {
  const file = descriptors.FileDescriptorProto.decode(bytes);
  for (const message of (file as unknown as FileDescriptor).messageType) nameFields(message);
  return Buffer.from(descriptors.FileDescriptorProto.encode(file).finish());
}

function nameFields({ field: fields, nestedType }: MessageDescriptor): void {
  for (const field of fields) {
    field.jsonName = field.name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  }
  for (const message of nestedType) nameFields(message);
}
