/** Quay's names of storage drivers. This version has an engine for some of them (engines/engines.ts). */
export const DRIVERS = [
  'LocalStorage',
  'S3Storage',
  'STSS3Storage',
  'CloudFrontedS3Storage',
  'CloudFlareStorage',
  'AkamaiS3Storage',
  'MultiCDNStorage',
  'GoogleCloudStorage',
  'AzureStorage',
  'SwiftStorage',
  'RadosGWStorage',
  'RHOCSStorage',
  'IBMCloudStorage',
] as const;
