/**
 * Tokens for a protected server, such as an MCP server, that says itself which tokens it needs (RFC 9728): for `mcp URL`, and
 * for `--for URL` of `login` and `token`.
 *
 * @module
 */
import { type Authority, authorityOfTenant, DEFAULT_AUTHORITY, parseAuthority } from "../../lib/authority.ts";
import { isObject, type JsonObject, readJson, readJwt, readText } from "../../lib/encoding.ts";
import { escapeControlCharacters } from "../../lib/control_characters.ts";
import { LatchkeyError } from "../../lib/errors.ts";
import { readPrivateFile, replacePrivateFile } from "../../lib/files/private_files.ts";
import { stateFolder } from "../../lib/files/user_folders.ts";
import { makeFetch } from "../../lib/http/client.ts";
import type { HttpOptions } from "../../lib/oauth/bounded_fetch.ts";
import { findProtectedResource, foreignScope, resourceIdentifier } from "../../lib/oauth/protected_resource.ts";
import { findProvider } from "../../lib/oauth/provider.ts";
import type { AcquireTokenRequest } from "../../lib/request.ts";
import { pathIn } from "../../lib/runtime/path.ts";
import { canAsk, isTerminal } from "../../lib/runtime/terminal.ts";
import { isDefaultScope, resourceOfScope } from "../../lib/scopes.ts";
import type { AuthenticationResult } from "../../lib/token.ts";
import { clientIdOf } from "./application.ts";
import type { CommandLine } from "./command_line.ts";
import { commandWords, inWords, loginCommand, messageOf } from "./failures.ts";
import { isConfirmed, say } from "./output.ts";

/** The fields of a request that depend on the server. */
type ServerTarget = Pick<AcquireTokenRequest, "scopes" | "tenantId" | "resource">;

/** The tokens that a server needs, and the agreement that is missing. */
export interface ServerNeeds {
  readonly url: URL;
  readonly authority: Authority;
  readonly target: ServerTarget;
  /** Scopes that the server names and the user has not agreed to. Microsoft's authorities have none: see the scopes' checks. */
  readonly unagreed: readonly string[];
  /** True if the user named all scopes. */
  readonly isNamedByUser: boolean;
  /** The command line, with the server as its `--for`. */
  readonly line: CommandLine;
  /** Scopes that the sign-in names which the user can run: the server names those of a step-up nowhere else. */
  readonly loginScopes: readonly string[];
}

/** Facts about a server, and the scopes that the user named for it. */
interface ServerFacts {
  /** Scopes that the user named. */
  readonly named: readonly string[];
  /** `WWW-Authenticate` of a response of the server. @default the server is asked, without a token */
  readonly challenge?: string | undefined;
  /** Scopes of a token that the server refused because it needs more. */
  readonly held?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Finds out what a token for a server must be requested with: the scopes of the command line, otherwise those that the server
 * asks for. At providers other than Microsoft the resource is `--resource`, otherwise the server itself.
 *
 * @throws {UsageError} if an option is invalid.
 * @throws {TypeError} if the URL is invalid.
 * @throws {LatchkeyError} as `findProtectedResource` does, and if the agreed scopes cannot be read.
 */
export async function needsOfServer(
  address: string,
  commandLine: CommandLine,
  { named, challenge, held, signal }: ServerFacts,
): Promise<ServerNeeds> {
  const clientId = clientIdOf(commandLine);
  const line = commandLine.with({ for: address });
  const { correlationId } = line;
  const tenantId = line.text("tenant");
  const ofLine = parseAuthority(line.text("authority") ?? DEFAULT_AUTHORITY);
  const isMicrosoft = ofLine.kind !== "oidc";
  const identifier = resourceIdentifier(address);
  const url = new URL(address);
  if (named.length > 0 && !held) {
    const resource = isMicrosoft ? undefined : line.text("resource") ?? identifier;
    const target = { scopes: named, tenantId, resource };
    return { url, authority: ofLine, target, unagreed: [], isNamedByUser: true, line, loginScopes: named };
  }
  const authority = tenantId === undefined ? ofLine : authorityOfTenant(ofLine, tenantId);
  const found = await findProtectedResource(address, {
    ...{ authority, challenge, correlationId, signal },
    fetch: makeFetch(),
    resource: line.text("resource"),
  });
  // At Microsoft's authorities, a scope that the user named rules out other services.
  const resources = named.map(resourceOfScope);
  const foreign = found.scopes.find((scope) => isMicrosoft && !resources.includes(resourceOfScope(scope)));
  if (named.length > 0 && foreign !== undefined) throw foreignScope(url.host, foreign, correlationId);
  const { resource, proposed } = found;
  const ofServer = { server: url.href, authority: authority.url, clientId };
  const agreed = proposed.length === 0 || resource === undefined
    ? []
    : [...named, ...held ?? [], ...await agreedScopes({ ...ofServer, resource }, signal)];
  const scopes = [...new Set([...held ?? [], ...found.scopes])];
  const specific = scopes.filter((scope) => !isDefaultScope(scope));
  const target = {
    scopes: held && specific.length > 0 ? specific : scopes,
    tenantId: tenantId ?? found.tenantId,
    resource,
  };
  return {
    ...{ url, authority, target, line },
    unagreed: proposed.filter((scope) => !agreed.includes(scope)),
    isNamedByUser: false,
    loginScopes: held ? target.scopes : [],
  };
}

/** A sign-in, or a silent token, for a server. */
export interface ServerRequest extends ServerTarget, Pick<AcquireTokenRequest, "onBeforeLaunchingUi"> {}

/** Options of {@linkcode acquireForServer}. */
interface ServerTokenOptions {
  /** True if the user may be asked to agree to scopes. */
  readonly mayAsk: boolean;
  /**
   * True if the user ordered a sign-in for this server: the user agrees to its scopes by that, and to those of the command line.
   * @default false
   */
  readonly isSignIn?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Acquires a token for a server. The provider and the scopes are shown before the user is prompted. Scopes that the user has not
 * agreed to are requested only after the user agreed at a terminal, and then remembered.
 *
 * @throws {LatchkeyError} `interaction_required` if the user must agree first; `user_canceled` if the user did not agree;
 * `untrusted_authority` if the token is not for the server alone; and as `acquire` does.
 */
export async function acquireForServer(
  needs: ServerNeeds,
  acquire: (request: ServerRequest) => Promise<AuthenticationResult>,
  options: ServerTokenOptions,
): Promise<AuthenticationResult> {
  const { unagreed, target, isNamedByUser } = needs;
  const { isSignIn = false, signal } = options;
  if (unagreed.length > 0) await requireAgreement(needs, options);
  if (isSignIn) announce(needs);
  const isShown = isSignIn || unagreed.length > 0;
  const result = await acquire({
    ...target,
    ...(!isShown && { onBeforeLaunchingUi: () => announce(needs) }),
  }).catch((error) => {
    throw error instanceof LatchkeyError ? inWords(error, commandWords(needs.line, error.claims)) : error;
  });
  if (!isNamedByUser) await checkAudience(result, needs, signal);
  const agreed = isSignIn && isNamedByUser ? target.scopes : unagreed;
  if (agreed.length > 0) await remember(needs, agreed, signal);
  return result;
}

/**
 * Asks the user at the terminal to agree to a server's scopes. A browser is no question: where the user is signed in to the
 * provider, it can come back by itself.
 */
async function requireAgreement(needs: ServerNeeds, { mayAsk, isSignIn, signal }: ServerTokenOptions): Promise<void> {
  if (!mayAsk || !isTerminal("stderr")) throw notAgreed(needs);
  if (isSignIn) return;
  if (!canAsk()) throw notAgreed(needs);
  announce(needs);
  const { host } = needs.url;
  if (await isConfirmed(`Do you trust ${host} with them?`, signal)) return;
  throw new LatchkeyError("user_canceled", `You did not agree to the scopes that ${host} asks for`, {
    correlationId: needs.line.correlationId,
  });
}

function announce({ url, authority, target, unagreed }: ServerNeeds): void {
  const trust = unagreed.length > 0 ? `. Go on only if you trust ${url.host} with them` : "";
  say(`the token for ${url.host} is of ${authority.url}, for the scopes ${target.scopes.join(" ")}${trust}`);
}

function notAgreed({ url, authority, unagreed, line, loginScopes }: ServerNeeds): LatchkeyError {
  const message = `${url.host} asks ${authority.url} for scopes that you have not agreed to: ${unagreed.join(" ")}`;
  return new LatchkeyError("interaction_required", message, {
    correlationId: line.correlationId,
    remedy: `Only if you trust ${url.host} with them, sign in at a terminal: ${loginCommand(line, loginScopes)}`,
  });
}

/**
 * Checks that a token is for the server alone, except for the provider's issuer and its claims about the user, which some
 * providers add: a provider that ignores the resource can issue a token that is good at all its services. An opaque token cannot
 * be looked into.
 */
async function checkAudience(
  { accessToken, correlationId }: AuthenticationResult,
  { url, authority, target: { resource } }: ServerNeeds,
  signal: AbortSignal | undefined,
): Promise<void> {
  const claims = readJwt(accessToken);
  if (resource === undefined || claims === undefined) return;
  const audiences: unknown[] = Array.isArray(claims.aud) ? claims.aud : [claims.aud];
  const others = audiences.filter((audience) => audience !== resource);
  const isForServer = others.length < audiences.length;
  if (isForServer && others.length === 0) return;
  const permitted = isForServer ? await ownAudiences(authority, { correlationId, signal }) : [];
  const foreign = others.filter((audience) => !permitted.includes(audience));
  if (isForServer && foreign.length === 0) return;
  const names = foreign.map((audience) => escapeControlCharacters(String(audience)).slice(0, 200)).join(", ");
  throw new LatchkeyError(
    "untrusted_authority",
    `${authority.url} issued a token that is not for ${url.host}: ${names || "it names no audience"}`,
    {
      correlationId,
      remedy: { kind: "name_scopes", when: `Only if you trust ${url.host} with that token` },
    },
  );
}

/** Returns the audiences that are no API of a provider: its issuer, and its claims about the user. */
async function ownAudiences(
  authority: Authority,
  call: Pick<HttpOptions, "correlationId" | "signal">,
): Promise<readonly unknown[]> {
  const { server } = await findProvider(authority, { ...call, fetch: makeFetch() });
  return [server.issuer, ...(server.userinfo_endpoint === undefined ? [] : [server.userinfo_endpoint])];
}

async function remember(
  { url, authority, target: { resource }, line }: ServerNeeds,
  scopes: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  if (resource === undefined) return; // Microsoft's
  const server: AgreedServer = { server: url.href, resource, authority: authority.url, clientId: clientIdOf(line) };
  try {
    await rememberAgreement(server, scopes, signal);
  } catch (error) {
    // The token is still good.
    if (!(error instanceof LatchkeyError)) throw error;
    say(`you will be asked for the scopes of ${url.host} again, since they could not be stored: ${messageOf(error)}`);
  }
}

// The scopes that the user agreed to, in a private file. Providers other than Microsoft can issue a token for any scope, so a server
// gets only those.

/** A server, and who issues its tokens to whom. */
interface AgreedServer {
  /** URL of the server. */
  readonly server: string;
  /** Resource that its tokens are for. */
  readonly resource: string;
  /** URL of the authority. */
  readonly authority: string;
  readonly clientId: string;
}

/**
 * Returns the scopes that the user agreed to for a server.
 *
 * @throws {LatchkeyError} `configuration`, `missing_dependency` if the file cannot be read, or others can write it.
 */
async function agreedScopes(server: AgreedServer, signal?: AbortSignal): Promise<readonly string[]> {
  const entries = await readEntries(signal);
  return scopesIn(entries.find((entry) => isSameServer(entry, server)));
}

/**
 * Adds scopes to those that the user agreed to for a server.
 *
 * @throws {LatchkeyError} `configuration`, `timed_out`, `missing_dependency` if the file cannot be written.
 */
async function rememberAgreement(
  server: AgreedServer,
  scopes: readonly string[],
  signal?: AbortSignal,
): Promise<void> {
  const { withLock } = await import("../../lib/files/lock.ts");
  const path = filePath();
  await withLock(`${path}.lockfile`, async () => {
    const entries = await readEntries(signal);
    const known = entries.find((entry) => isSameServer(entry, server));
    const all = [...new Set([...scopesIn(known), ...scopes])];
    const { clientId: client_id, ...names } = server;
    const servers = [...entries.filter((entry) => entry !== known), { ...names, client_id, scopes: all }];
    const json = `${JSON.stringify({ servers }, undefined, 2)}\n`;
    await replacePrivateFile(path, new TextEncoder().encode(json), { signal });
  }, { signal });
}

/** A file that is damaged has no agreements: the user is asked again. */
async function readEntries(signal: AbortSignal | undefined): Promise<readonly JsonObject[]> {
  const bytes = await readPrivateFile(filePath(), { signal });
  const servers = bytes && readJson(bytes)?.servers;
  return Array.isArray(servers) ? servers.filter(isObject) : [];
}

function isSameServer(entry: JsonObject, { server, resource, authority, clientId }: AgreedServer): boolean {
  return entry.server === server && entry.resource === resource && entry.authority === authority &&
    entry.client_id === clientId;
}

function scopesIn(entry: JsonObject | undefined): readonly string[] {
  return Array.isArray(entry?.scopes) ? entry.scopes.filter((scope) => readText(scope) !== undefined) : [];
}

function filePath(): string {
  return pathIn(stateFolder(), "agreed_scopes.json");
}
