/** The exit statuses of every command, and an error that carries one. docs/commands.md explains them. */

export const EXIT = {
  /** Done; in sync. */
  done: 0,
  /** Failed or refused; not in sync. */
  failed: 1,
  /** The command was called in a way that it does not have. */
  usage: 2,
  /** Nobody could be asked, or the answer was cut off: the same command may work later. */
  unreachable: 3,
  /** Ended by Ctrl-C: 128 and the signal's number, as shells count. */
  interrupted: 130,
  /** Ended by SIGTERM. */
  terminated: 143,
} as const;

/** The command has failed; `message` says why and what to do, in one or several lines. */
export class Failure extends Error {
  override readonly name = 'Failure';
  readonly exit: number;
  /** The service's reason, for example `REFUSED`; empty if it gave none. */
  readonly reason: string;

  constructor(exit: number, message: string, reason = '') {
    super(message);
    this.exit = exit;
    this.reason = reason;
  }
}
