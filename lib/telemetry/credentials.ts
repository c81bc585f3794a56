/** Taking credentials out of texts that are about to be shown: connection strings and signed URLs turn up in messages of libraries. */

// scheme://user:password@ (everything up to the last @ before the path)
const LOGIN = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s"/?#]*@/gi;
// ?X-Amz-Signature=…&sig=…: what makes a signed URL valid, and passwords given as parameters
const PARAMETER =
  /([?&](?:[a-z-]*signature|x-amz-(?:credential|security-token)|sig|temp_url_sig|(?:ssl)?password|token|access_token)=)[^&\s"'\\]+/gi;

/** The text without `user:password@` in its URLs and without secret parameters. */
export function stripCredentials(text: string): string {
  if (!text.includes('://') && !text.includes('=')) return text;
  return text.replace(LOGIN, '$1***@').replace(PARAMETER, '$1***');
}
