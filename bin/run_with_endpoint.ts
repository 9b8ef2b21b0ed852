/**
 * A command that finds a managed-identity endpoint in its environment: on a port, with a secret of its own, for as long as it
 * runs.
 *
 * @module
 */
import { base64Of } from "../lib/platform/base64_text.ts";
import { runInForeground } from "../lib/platform/foreground_program.ts";
import { readEnvironment } from "../lib/platform/host.ts";
import { write } from "../lib/platform/program.ts";
import { StartError } from "../lib/platform/start_process.ts";
import { type IdentityEndpointOptions, openIdentityEndpoint } from "./identity_endpoint.ts";
import { IDENTITY_PATH } from "./identity_request.ts";
import { visible } from "./visible.ts";

/** Exit codes of a shell for a command that is not there, and for one that cannot be run. */
const NOT_THERE = 127, NOT_RUN = 126;

/**
 * Runs a command.
 *
 * @param command Its words.
 * @param options What the endpoint does.
 * @returns The command's exit code.
 * @throws {LatchkeyError} `configuration`, `missing_dependency` when there can be no endpoint.
 */
export async function runWithEndpoint(
  command: readonly string[],
  options: Omit<IdentityEndpointOptions, "at">,
): Promise<number> {
  const secret = newSecret(), endpoint = await openIdentityEndpoint({ ...options, at: { port: 0, secret } });
  try {
    return await runInForeground(command, { ...identityVariables(endpoint.port, secret), ...withoutOthers() });
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    write("stderr", `latchkey: ${visible(error.message)}\n`);
    return error.isMissing ? NOT_THERE : NOT_RUN;
  } finally {
    await endpoint.close();
  }
}

/** The variables by which Azure's libraries find an endpoint. */
export function identityVariables(
  port: number,
  secret: string,
): { readonly IDENTITY_ENDPOINT: string; readonly IDENTITY_HEADER: string } {
  return { IDENTITY_ENDPOINT: `http://127.0.0.1:${port}${IDENTITY_PATH}`, IDENTITY_HEADER: secret };
}

/** A new secret: 256 bits, in letters that no shell or header field takes for something else. */
export function newSecret(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(32));
  return base64Of(bytes).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}

/** What would have Azure's libraries take another endpoint, or another way to this one. */
function withoutOthers(): Readonly<Record<string, string>> {
  const isOfServiceFabric = readEnvironment("IDENTITY_SERVER_THUMBPRINT") !== undefined;
  return { ...withoutProxy(), ...(isOfServiceFabric && { IDENTITY_SERVER_THUMBPRINT: "" }) };
}

/** Where there is a proxy, many programs would send it what is for this machine, and the secret with it. */
function withoutProxy(): Readonly<Record<string, string>> {
  const proxies = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
  if (!proxies.some((name) => readEnvironment(name))) return {};
  const listed = readEnvironment("no_proxy") ?? readEnvironment("NO_PROXY"), own = "127.0.0.1";
  if (listed?.split(/[\s,]+/).some((host) => host === own || host === "*")) return {};
  const hosts = listed ? `${listed},${own}` : own;
  return { NO_PROXY: hosts, no_proxy: hosts };
}
