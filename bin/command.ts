/**
 * What a command is.
 *
 * @module
 */
import type { Option } from "./command_options.ts";

/** Arguments beside options. */
export interface Operand {
  /** What one is called, as with options. */
  readonly value: string;
  /** The values that are taken. */
  readonly choices?: readonly string[];
}

/** A command. */
export interface Command {
  /** The word that calls it. */
  readonly name: string;
  /** What it does, in one line. */
  readonly summary: string;
  /** Its arguments, as the help shows them. */
  readonly usage: string;
  /** How many arguments it takes beside options. */
  readonly operands: number;
  /** What they are, for a shell that completes them. @default files */
  readonly operand?: Operand;
  /** Whether its arguments are the words of another command, which come after `--` alone, as they are. @default false */
  readonly wraps?: boolean;
  /** Whether it runs until it is ended, and heeds signals by itself. @default false */
  readonly isService?: boolean;
  /** Its options. */
  readonly options: readonly Option[];
  /** What to say of options that others have and this one has not, for a reason. */
  readonly unlike?: Readonly<Record<string, string>>;
  /** What people type, and why. */
  readonly examples: readonly (readonly [line: string, why: string])[];
}
