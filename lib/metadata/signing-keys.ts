/** The keys that tokens are signed with, as all gateways share them. Which of them sign and verify is by the database's clock. */
import { z } from 'zod';
import type { Database } from './database.js';

/** A key of an elliptic curve, as RFC 7517 writes it; without its private part. */
export interface PublicKey {
  readonly kty: string;
  readonly crv: string;
  readonly x: string;
  readonly y: string;
}

export interface SigningKeyRow {
  readonly kid: string;
  readonly publicKey: PublicKey;
  /** Encrypted; undefined when it no longer signs. */
  readonly privateKey: Buffer | undefined;
  /** Which secret it is encrypted with. */
  readonly sealedWith: string;
  /** Whether it signs now. */
  readonly signs: boolean;
  /** For how many seconds it will sign still; negative if that is over. */
  readonly signsForSeconds: number;
}

export interface NewSigningKey {
  readonly kid: string;
  readonly publicKey: PublicKey;
  readonly privateKey: Buffer;
  readonly sealedWith: string;
  /** In seconds: how long before the end of the last one it may be made, how long it signs, and how long it verifies after that. */
  readonly overlap: number;
  readonly signs: number;
  readonly verifies: number;
}

const rowSchema = z
  .object({
    kid: z.string(),
    public_key: z.object({ kty: z.string(), crv: z.string(), x: z.string(), y: z.string() }),
    private_key: z.instanceof(Buffer).nullable(),
    sealed_with: z.string(),
    signs: z.boolean(),
    signs_for: z.number(),
  })
  .transform(
    (row): SigningKeyRow => ({
      kid: row.kid,
      publicKey: row.public_key,
      privateKey: row.private_key ?? undefined,
      sealedWith: row.sealed_with,
      signs: row.signs,
      signsForSeconds: row.signs_for,
    }),
  );

export class SigningKeys {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** All keys that verify, the newest first. */
  async list(): Promise<SigningKeyRow[]> {
    const rows = await this.#db.query(
      `select kid, public_key, private_key, sealed_with, now() >= signs_from and now() < signs_until as signs,
              extract(epoch from signs_until - now())::float8 as signs_for
         from signingkey where verifies_until > now() order by signs_from desc, kid`,
      [],
      { repeatable: true },
    );
    return rows.map(row => rowSchema.parse(row));
  }

  /** Adds a key that follows the last one of the same secret; false if somebody else has done so. */
  async add(key: NewSigningKey): Promise<boolean> {
    const [row] = await this.#db.query(
      'select add_signing_key($1, $2, $3, $4, $5, $6, $7) as added',
      [key.kid, JSON.stringify(key.publicKey), key.privateKey, key.sealedWith, key.overlap, key.signs, key.verifies],
      { repeatable: true },
    );
    return row?.added === true;
  }
}
