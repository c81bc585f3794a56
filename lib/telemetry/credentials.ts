/** Taking credentials out of texts that are about to be shown: connection strings, signed URLs and tokens turn up in messages of libraries. */

// scheme://user:password@ (everything up to the last @ before the path)
const LOGIN = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s"/?#]*@/gi;
// ?X-Amz-Signature=…&sig=…: what makes a signed URL valid, and passwords given as parameters
const PARAMETER =
  /([?&](?:[a-z-]*signature|x-amz-(?:credential|security-token)|sig|temp_url_sig|(?:ssl)?password|token|access_token|refresh_token)=)[^&\s"'\\]+/gi;
// what follows the scheme in HTTP's header (a mere word is none); a JWT; the hash of a password
const AUTHORIZATION = /\b([Bb]earer|[Bb]asic)\s+(?=[a-z]*[A-Z0-9+/=._~-])[A-Za-z0-9+/=._~-]{8,}/g;
const JWT = /\beyJ[\w-]+\.[\w-]+\.[\w-]*/g;
const PASSWORD_HASH = /\$(argon2\w*|2[abxy])\$[\w$+/=,.-]+/g;

/** The text without `user:password@` in its URLs, without secret parameters, tokens and hashes of passwords. */
export function stripCredentials(text: string): string {
  const urls = text.includes('://') || text.includes('=');
  const clean = urls ? text.replace(LOGIN, '$1***@').replace(PARAMETER, '$1***') : text;
  return clean.replace(AUTHORIZATION, '$1 ***').replace(JWT, '***').replace(PASSWORD_HASH, '***');
}
