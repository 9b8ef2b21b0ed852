/**
 * What a sign-in asks for where nothing is named.
 *
 * @module
 */
import { isAtMicrosoft } from "./app_options.ts";
import type { CommandLine } from "./command_line.ts";

/**
 * At Microsoft's authorities all that the app has been allowed of Microsoft Graph; elsewhere what every OpenID provider knows
 * (OpenID Connect Core, 5.4).
 */
export function defaultScopesOf(line: CommandLine): readonly string[] {
  return isAtMicrosoft(line) ? ["https://graph.microsoft.com/.default"] : ["email"];
}
