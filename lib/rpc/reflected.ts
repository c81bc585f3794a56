/**
 * What a server tells of its services to those who ask by reflection (grpcurl, buf curl).
 *
 * Its clients know a field by the names that reflection gives it: the one in the .proto file, and its name in gRPC's JSON.
 * As @grpc/proto-loader loads files for stubs, reflection would tell the names of the stubs, and `dry_run` would be
 * refused; and it leaves out the JSON names, so that grpcurl would print others than buf curl does. Nor does it name the
 * entries of maps as protoc does, without which clients refuse the whole file.
 */
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import descriptors from 'protobufjs/ext/descriptor/index.js';
import { PROTO_OPTIONS } from './proto.js';

/** The parts of google.protobuf's descriptors that are looked at here. */
interface FileDescriptor {
  readonly messageType: readonly MessageDescriptor[];
}
interface MessageDescriptor {
  name: string;
  readonly field: readonly { readonly name: string; jsonName: string; typeName: string }[];
  readonly nestedType: readonly MessageDescriptor[];
  readonly options: { readonly mapEntry?: boolean } | null;
}

/** The definitions of a file, for server reflection only. */
export function loadReflected(file: string): PackageDefinition {
  const loaded = loadSync(file, { ...PROTO_OPTIONS, keepCase: true });
  // Each message and enum carries the same list of files.
  const seen = new Map<readonly Buffer[], Buffer[]>();
  for (const definition of Object.values(loaded)) {
    const { fileDescriptorProtos: files } = definition;
    if (!Array.isArray(files)) continue;
    const named = seen.get(files) ?? files.map(asProtocNamesIt);
    seen.set(files, named);
    definition.fileDescriptorProtos = named;
  }
  return loaded;
}

function asProtocNamesIt(bytes: Buffer): Buffer {
  const file = descriptors.FileDescriptorProto.decode(bytes);
  for (const message of (file as unknown as FileDescriptor).messageType) nameParts(message);
  return Buffer.from(descriptors.FileDescriptorProto.encode(file).finish());
}

function nameParts({ field: fields, nestedType }: MessageDescriptor): void {
  for (const field of fields) {
    field.jsonName = field.name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  }
  for (const message of nestedType) {
    if (message.options?.mapEntry) nameEntry(message, fields);
    nameParts(message);
  }
}

/** `map<…> statuses` has entries of a nested message, `StatusesEntry`. */
function nameEntry(entry: MessageDescriptor, fields: MessageDescriptor['field']): void {
  const before = entry.name;
  entry.name = `${before}Entry`;
  for (const field of fields) if (field.typeName === before) field.typeName = entry.name;
}
