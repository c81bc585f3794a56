/** Quay's names of storage drivers. Which of them a storage-proxy can open is told by its engines. */
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
