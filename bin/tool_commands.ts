/**
 * Commands that other programs call: git, kubectl, Azure's SDKs, browsers.
 *
 * @module
 */
import type { Command } from "./command.ts";

/** These commands, in the order of the help. */
export const TOOL_COMMANDS: readonly Command[] = [];
