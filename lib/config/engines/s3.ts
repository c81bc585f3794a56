/**
 * The arguments of the S3 family of drivers, with the keys that Quay gives them, and what they mean to the engine.
 *
 * Each driver names the same few things differently. What follows is one `S3Settings`, which also remembers those
 * names, so that an error can say which argument to mend.
 */
import { z } from 'zod';

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;

/** Where credentials come from. */
export type Credentials =
  | {
      readonly kind: 'keys';
      readonly accessKey: string;
      readonly secretKey: string;
      readonly token?: string | undefined;
    }
  /** What the environment offers: variables, files, the machine's role. */
  | { readonly kind: 'environment' }
  /** A role that is assumed with these keys, or, without them, with the web identity token of the environment. */
  | {
      readonly kind: 'role';
      readonly arn: string | undefined;
      readonly keys: { readonly accessKey: string; readonly secretKey: string } | undefined;
    };

/** What the store is asked to encrypt objects with. */
export interface Encryption {
  readonly ServerSideEncryption: 'AES256' | 'aws:kms';
  readonly SSEKMSKeyId?: string | undefined;
}

/** What the driver's arguments are called, for error messages. */
export interface ArgumentNames {
  readonly bucket: string;
  readonly keys: string;
  readonly endpoint: string;
  readonly region: string;
}

export interface S3Settings {
  readonly driver: string;
  readonly bucket: string;
  /** What all keys begin with: no slash at either end; may be empty. */
  readonly root: string;
  /** Undefined: AWS's own, for the region. */
  readonly endpoint: string | undefined;
  readonly region: string;
  readonly credentials: Credentials;
  /** The smallest part that the store takes, the last one apart. */
  readonly minPartBytes: number;
  /** The largest range that is copied by one request. */
  readonly maxCopyBytes: number;
  /** Whether the store can copy parts itself; otherwise their bytes pass through the node. */
  readonly serverSideCopy: boolean;
  readonly encryption: Encryption | undefined;
  readonly names: ArgumentNames;
}

/** An empty text or null counts as absent, as in Quay's own files. */
const text = z
  .string()
  .nullish()
  .transform(value => value || undefined);
const required = z.string().min(1);
const storagePath = z.string().transform(path => path.split('/').filter(Boolean).join('/'));
const number = (smallest: number, largest: number) =>
  z
    .union([z.number(), z.string().regex(/^\d+$/, 'must be a whole number')])
    .transform(Number)
    .pipe(z.number().int().min(smallest).max(largest));
const port = number(1, 65_535).nullish();
const url = z.url({ protocol: /^https?$/, error: 'must begin with http:// or https://' }).nullish();
const signature = z
  .enum(['s3v4', 'v4'], 'only s3v4 is supported: older signatures are refused by most stores today')
  .nullish();
/** Larger parts would be held in memory. */
const minimumMb = number(5, 512).nullish();
const maximumMb = number(5, 5_120).nullish();
const maximumGb = number(1, 5).nullish();

/** Additions of our own, for all drivers of the family; Quay refuses them. */
const additions = {
  server_side_encryption: z.enum(['AES256', 'aws:kms', 'none']).nullish(),
  sse_kms_key_id: text,
};

const s3 = z
  .strictObject({
    storage_path: storagePath,
    s3_bucket: required,
    s3_access_key: text,
    s3_secret_key: text,
    aws_session_token: text,
    s3_region: text,
    host: text,
    port,
    endpoint_url: url,
    maximum_chunk_size_gb: maximumGb,
    minimum_chunk_size_mb: minimumMb,
    signature_version: signature,
    ...additions,
  })
  .refine(a => !a.s3_access_key === !a.s3_secret_key, {
    path: ['s3_access_key'],
    error: 's3_access_key and s3_secret_key belong together: give both, or none for the credentials of the environment',
  })
  .transform((a): S3Settings => {
    const { endpoint, region } = awsPlace(a);
    const { s3_access_key: accessKey, s3_secret_key: secretKey, aws_session_token: token } = a;
    return {
      driver: 'S3Storage',
      bucket: a.s3_bucket,
      root: a.storage_path,
      endpoint,
      region,
      credentials: accessKey && secretKey ? { kind: 'keys', accessKey, secretKey, token } : { kind: 'environment' },
      minPartBytes: (a.minimum_chunk_size_mb ?? 5) * MIB,
      maxCopyBytes: (a.maximum_chunk_size_gb ?? 5) * GIB,
      serverSideCopy: true,
      encryption: encryptionOf(a, endpoint === undefined),
      names: {
        bucket: 's3_bucket',
        keys: 's3_access_key and s3_secret_key',
        endpoint: 's3_region, host or endpoint_url',
        region: 's3_region',
      },
    };
  });

const sts = z
  .strictObject({
    storage_path: storagePath,
    s3_bucket: required,
    sts_role_arn: text,
    sts_user_access_key: text,
    sts_user_secret_key: text,
    s3_region: text,
    endpoint_url: url,
    maximum_chunk_size_gb: maximumGb,
    signature_version: signature,
    ...additions,
  })
  .refine(a => !a.sts_user_access_key === !a.sts_user_secret_key, {
    path: ['sts_user_access_key'],
    error:
      'sts_user_access_key and sts_user_secret_key belong together: give both, or none for the web identity of the environment',
  })
  .refine(a => !a.sts_user_access_key || a.sts_role_arn, {
    path: ['sts_role_arn'],
    error: 'is needed with sts_user_access_key: it names the role to assume',
  })
  .transform((a): S3Settings => {
    const { endpoint, region } = awsPlace(a);
    const { sts_user_access_key: accessKey, sts_user_secret_key: secretKey } = a;
    return {
      driver: 'STSS3Storage',
      bucket: a.s3_bucket,
      root: a.storage_path,
      endpoint,
      region,
      credentials: {
        kind: 'role',
        arn: a.sts_role_arn,
        keys: accessKey && secretKey ? { accessKey, secretKey } : undefined,
      },
      minPartBytes: 5 * MIB,
      maxCopyBytes: (a.maximum_chunk_size_gb ?? 5) * GIB,
      serverSideCopy: true,
      encryption: encryptionOf(a, endpoint === undefined),
      names: {
        bucket: 's3_bucket',
        keys: 'sts_role_arn, sts_user_access_key and sts_user_secret_key',
        endpoint: 's3_region or endpoint_url',
        region: 's3_region',
      },
    };
  });

const hosted = {
  hostname: required,
  is_secure: z.boolean(),
  storage_path: storagePath,
  access_key: required,
  secret_key: required,
  bucket_name: required,
  port,
  signature_version: signature,
  maximum_chunk_size_mb: maximumMb,
  ...additions,
};

const ibm = z.strictObject(hosted).transform((a): S3Settings => hostedSettings('IBMCloudStorage', a));

const rados = (driver: string) =>
  z
    .strictObject({
      ...hosted,
      region_name: text,
      minimum_chunk_size_mb: minimumMb,
      server_side_assembly: z.boolean().nullish(),
    })
    .transform((a): S3Settings => hostedSettings(driver, a));

/** The drivers of the family, by Quay's names. */
export const s3Drivers: Readonly<Record<string, z.ZodType<S3Settings>>> = {
  S3Storage: s3,
  STSS3Storage: sts,
  RadosGWStorage: rados('RadosGWStorage'),
  RHOCSStorage: rados('RHOCSStorage'),
  IBMCloudStorage: ibm,
};

interface HostedArguments extends EncryptionArguments {
  readonly hostname: string;
  readonly is_secure: boolean;
  readonly storage_path: string;
  readonly access_key: string;
  readonly secret_key: string;
  readonly bucket_name: string;
  readonly port?: number | null | undefined;
  readonly region_name?: string | undefined;
  readonly minimum_chunk_size_mb?: number | null | undefined;
  readonly maximum_chunk_size_mb?: number | null | undefined;
  readonly server_side_assembly?: boolean | null | undefined;
}

function hostedSettings(driver: string, a: HostedArguments): S3Settings {
  return {
    driver,
    bucket: a.bucket_name,
    root: a.storage_path,
    endpoint: `${a.is_secure ? 'https' : 'http'}://${a.hostname}${a.port ? `:${a.port}` : ''}`,
    region: a.region_name ?? 'us-east-1',
    credentials: { kind: 'keys', accessKey: a.access_key, secretKey: a.secret_key },
    minPartBytes: (a.minimum_chunk_size_mb ?? 5) * MIB,
    maxCopyBytes: (a.maximum_chunk_size_mb ?? 100) * MIB,
    serverSideCopy: a.server_side_assembly ?? true,
    encryption: encryptionOf(a, false),
    names: {
      bucket: 'bucket_name',
      keys: 'access_key and secret_key',
      endpoint: 'hostname, port and is_secure',
      region: driver === 'IBMCloudStorage' ? 'hostname' : 'region_name',
    },
  };
}

/** A region leads to AWS, whatever else is given; then an address counts, then a host, which is always asked over TLS. */
function awsPlace(a: {
  readonly s3_region?: string | undefined;
  readonly endpoint_url?: string | null | undefined;
  readonly host?: string | undefined;
  readonly port?: number | null | undefined;
}): { endpoint: string | undefined; region: string } {
  if (a.s3_region) return { endpoint: undefined, region: a.s3_region };
  const region = 'us-east-1';
  if (a.endpoint_url) return { endpoint: a.endpoint_url, region };
  if (!a.host) return { endpoint: undefined, region };
  const named = /^s3[.-]([a-z]{2}-[a-z-]+-\d)\.amazonaws\.com(\.cn)?$/.exec(a.host)?.[1];
  return { endpoint: `https://${a.host}${a.port ? `:${a.port}` : ''}`, region: named ?? region };
}

interface EncryptionArguments {
  readonly server_side_encryption?: 'AES256' | 'aws:kms' | 'none' | null | undefined;
  readonly sse_kms_key_id?: string | undefined;
}

/** AWS is asked for AES256, as Quay does; other stores only if the configuration says so, since many refuse it. */
function encryptionOf(a: EncryptionArguments, isAws: boolean): Encryption | undefined {
  const wanted = a.server_side_encryption ?? (a.sse_kms_key_id ? 'aws:kms' : isAws ? 'AES256' : 'none');
  if (wanted === 'none') return undefined;
  return { ServerSideEncryption: wanted, SSEKMSKeyId: wanted === 'aws:kms' ? a.sse_kms_key_id : undefined };
}
