/** The arguments of LocalStorage. */
import { z } from 'zod';

export const localArguments = z.strictObject({
  /** The folder that everything lies in. It must exist: a disk that is not mounted must not look like an empty one. */
  storage_path: z.string().min(1),
  /** Says that all nodes of the location see the same files. Nothing depends on it: the engine never assumes otherwise. */
  shared_filesystem: z.boolean().optional(),
});

export type LocalSettings = z.infer<typeof localArguments>;
