/**
 * `latchkey CONFIG.json`: the sample that Microsoft documents for MSAL Python, with the broker of every platform.
 *
 * @module
 */
import { LatchkeyError } from "../../lib/errors.ts";
import { errorCodeOf } from "../../lib/files/files.ts";
import { readTextFile } from "../../lib/runtime/path.ts";
import { type Command, type CommandLine, UsageError } from "../cli/command_line.ts";
import { printToken, TOKEN_FORMAT } from "../cli/formats.ts";
import { lineOfMistake } from "../../lib/line_of_mistake.ts";
import { commandWords, inWords } from "../cli/failures.ts";
import { BROKER, BROWSER, CACHE, INTERACTIVE, TIMEOUT, VERBOSE } from "../cli/options.ts";
import { interactiveOf, openTokens } from "../cli/tokens.ts";

export const command: Command = {
  name: "CONFIG.json",
  summary: "Print a token for the client_id, authority, username and scope in a file",
  usage: "CONFIG.json [options]",
  operands: 1,
  options: [BROKER, ...CACHE, INTERACTIVE, ...BROWSER, TOKEN_FORMAT, TIMEOUT, VERBOSE],
  examples: [["latchkey parameters.json", "Print a token silently, or after a sign-in"]],
  run: runConfigFile,
};

interface Config {
  readonly clientId: string;
  readonly authority: string | undefined;
  readonly username: string | undefined;
  readonly scopes: readonly string[];
}

async function runConfigFile(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const { clientId, authority, username, scopes } = await readConfig(line.operands[0]!);
  const options = { clientId, ...(authority && { authority }) };
  try {
    const tokens = await openTokens(line, { interactive: interactiveOf(line), signal, options });
    printToken(await tokens.acquire({ scopes, username }), line);
  } catch (error) {
    throw inOwnWords(error, line);
  }
}

/** Returns the error with this command as its sign-in: latchkey login does not read the file. */
function inOwnWords(error: unknown, line: CommandLine): unknown {
  if (!(error instanceof LatchkeyError)) return error;
  const words = commandWords(line, error.claims);
  const signIn = () => "Sign in: add --interactive always";
  return inWords(error, {
    ...words,
    sign_in: signIn,
    enable_broker: signIn,
    sign_in_again: (step, place) =>
      step.with === "claims" || step.with === "prompt"
        ? words.sign_in_again(step, place)
        : "Sign in again: add --interactive always",
  });
}

async function readConfig(path: string): Promise<Config> {
  const wrong = (why: string) => new UsageError(`Cannot use ${JSON.stringify(path)}: ${why}`);
  let text;
  try {
    text = await readTextFile(path);
  } catch (error) {
    if (error instanceof LatchkeyError) throw error;
    if (errorCodeOf(error) === "ENOENT") throw wrong("there is no such file");
    throw wrong(error instanceof Error ? error.message : String(error));
  }
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    throw wrong(`it is not JSON, from line ${lineOfMistake(text)} on`); // no more: a config can have a secret in it
  }
  const { client_id: clientId, authority, username, scope } = (config ?? {}) as Record<string, unknown>;
  const scopes = typeof scope === "string" ? scope.split(" ").filter(Boolean) : scope;
  const textOf = (name: string, value: unknown) => {
    if (value === undefined || typeof value === "string") return value || undefined;
    throw wrong(`${name} must be a string`);
  };
  if (typeof clientId !== "string") throw wrong("client_id is missing");
  if (!Array.isArray(scopes) || !scopes.every((one) => typeof one === "string")) {
    throw wrong("scope must be a list of strings");
  }
  return { clientId, scopes, authority: textOf("authority", authority), username: textOf("username", username) };
}
