/**
 * `latchkey token`.
 *
 * @module
 */
import type { AuthenticationResult } from "../mod.ts";
import { write } from "../lib/platform/program.ts";
import { makeApplication } from "./app_options.ts";
import { type CommandLine, UsageError } from "./command_line.ts";
import { TOKEN_FORMATS } from "./token_formats.ts";

/** Prints an access token. */
export async function printToken(line: CommandLine, signal: AbortSignal | undefined): Promise<void> {
  const app = makeApplication(line);
  const request = {
    scopes: scopes(line),
    username: line.text("account"),
    interactive: "never",
    forceRefresh: line.isOn("force-refresh"),
    ...given("claims", line.text("claims")),
    ...given("tenantId", line.text("tenant")),
    signal,
  } as const;
  const minTtl = line.seconds("min-ttl") ?? 0;
  let result = await app.acquireToken(request);
  if (secondsLeft(result) < minTtl) result = await app.acquireToken({ ...request, forceRefresh: true });
  if (secondsLeft(result) < minTtl) {
    write("stderr", `latchkey: the new token ends in ${secondsLeft(result)} s, sooner than --min-ttl asks for\n`);
  }
  writeToken(result, line);
}

/** Prints a token in the format that was asked for. */
export function writeToken(result: AuthenticationResult, line: CommandLine): void {
  write("stdout", TOKEN_FORMATS[line.text("format")!]!(result, Date.now()));
}

/** A resource's default scope has two slashes where the resource ends in one: Azure SQL and others are named so. */
function scopes(line: CommandLine): readonly string[] {
  const scopes = line.list("scope"), resource = line.text("resource");
  if (resource !== undefined && scopes.length > 0) throw new UsageError("Give --scope or --resource, not both");
  if (resource !== undefined && !/^([a-z][a-z0-9+.-]*:\/\/|[0-9a-f-]{36}$)/i.test(resource)) {
    throw new UsageError(`--resource takes a URL such as https://graph.microsoft.com, not ${JSON.stringify(resource)}`);
  }
  if (resource !== undefined) return [`${resource}/.default`];
  const joined = scopes.find((scope) => scope.includes(","));
  if (joined !== undefined) {
    throw new UsageError(`--scope takes scopes apart by spaces, or is repeated, not ${JSON.stringify(joined)}`);
  }
  if (scopes.length === 0) throw new UsageError("--scope or --resource is missing: what the token is for");
  return scopes;
}

function given<Name extends string>(name: Name, value: string | undefined): { [key in Name]?: string } {
  return value === undefined ? {} : { [name]: value } as { [key in Name]: string };
}

function secondsLeft({ expiresOn }: AuthenticationResult): number {
  return Math.floor((expiresOn.getTime() - Date.now()) / 1000);
}
