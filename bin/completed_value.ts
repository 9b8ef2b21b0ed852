/**
 * What a shell offers for a value of an option, or for an argument. Pure.
 *
 * @module
 */
import type { Command, Operand } from "./command.ts";
import type { Option } from "./command_options.ts";

/** What is offered. */
export type CompletedValue =
  | { readonly kind: "words"; readonly words: readonly string[] }
  | { readonly kind: "files" | "folders" | "command" | "profiles" | "nothing" };

/** What the table calls a value, and what it is then. */
const KINDS: Readonly<Record<string, "files" | "folders" | "command">> = {
  PATH: "files",
  FILE: "files",
  SOCKET: "files",
  DIR: "folders",
  FOLDER: "folders",
  COMMAND: "command",
};

/** What is offered for the value of an option; `undefined` for an option that takes none. */
export function completedValueOf(option: Option): CompletedValue | undefined {
  if (option.kind === "switch" || option.kind === "count") return undefined;
  if (option.name === "profile") return { kind: "profiles" };
  return completed(option.value ?? "", option.choices ?? option.suggestions);
}

/** What is offered for a command's arguments beside options; `undefined` for a command that takes none. */
export function completedOperandOf({ operands, operand }: Command): CompletedValue | undefined {
  if (operands === 0) return undefined;
  return operand === undefined ? { kind: "files" } : completed(operand.value, operand.choices);
}

/** What an argument beside options is called. */
export function operandName({ operand }: { readonly operand?: Operand }): string {
  return operand?.value ?? "FILE";
}

function completed(value: string, words: readonly string[] | undefined): CompletedValue {
  if (words) return { kind: "words", words };
  return { kind: Object.hasOwn(KINDS, value) ? KINDS[value]! : "nothing" };
}
