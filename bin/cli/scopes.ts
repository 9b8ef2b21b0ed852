/**
 * The scopes that a command line asks for: `--scope`, `--resource`, and those of `--for`.
 *
 * @module
 */
import { DEFAULT_AUTHORITY, parseAuthority } from "../../lib/authority.ts";
import { isGuid, nearestName } from "../../lib/encoding.ts";
import { defaultScope, resourceOf } from "../../lib/scopes.ts";
import { type CommandLine, isAtMicrosoft, UsageError } from "./command_line.ts";
import { GRAPH_SCOPE } from "./options.ts";

/**
 * Returns the scopes that a command line names, unchecked, for a command that signs in for them. There are none if its resource is
 * a server's (RFC 8707), or a list, as that of `serve`: its clients ask for them.
 */
export function scopesNamed(line: CommandLine): readonly string[] {
  const nearest = line.nearest("scope", "resource"); // a resource on the command line counts before a profile's scope
  const scopes = nearest.includes("scope") ? line.list("scope") : [];
  const resource = nearest.includes("resource") ? line.text("resource") : undefined;
  const isScope = typeof resource === "string" && scopes.length === 0 &&
    (line.origin("for") === undefined || isAtMicrosoft(line));
  return isScope ? [defaultScope(resource)] : scopes;
}

/**
 * Returns the scopes that --scope or --resource name; `otherwise` if neither is given.
 *
 * @throws {UsageError} if they are invalid, or missing without any others.
 */
export function scopesOf(line: CommandLine, otherwise?: readonly string[]): readonly string[] {
  const [named, other] = line.nearest("scope", "resource");
  if (other) throw new UsageError("Give --scope or --resource, not both");
  if (named === "resource") return [scopeOfResource(line.text("resource")!)];
  const scopes = named === "scope" ? line.list("scope") : [];
  const joined = scopes.find((scope) => /[,;]/.test(scope));
  if (joined !== undefined) {
    throw new UsageError(`--scope takes scopes separated by spaces, or is repeated, not ${JSON.stringify(joined)}`);
  }
  const bare = isAtMicrosoft(line) ? scopes.find((scope) => /^https?:\/\/[^/]+\/?$/i.test(scope)) : undefined;
  if (bare !== undefined) {
    throw new UsageError(
      `--scope takes a permission, and ${bare} is a resource: write --resource ${bare}, or --scope ${
        defaultScope(bare)
      }`,
    );
  }
  const misspelled = scopes.find((scope) => isMisspelledHttp(/^([a-z]+):\/\//i.exec(scope)?.[1] ?? ""));
  if (misspelled !== undefined) {
    const meant = httpsFormOf(misspelled) ?? "https://";
    throw new UsageError(`--scope ${JSON.stringify(misspelled)} does not begin with https: did you mean ${meant}?`);
  }
  if (scopes.length > 0) return scopes;
  if (otherwise) return otherwise;
  throw new UsageError("--scope or --resource is missing: the API that the token is for");
}

/**
 * Returns the scope that --resource names. It has two slashes if the resource ends in one: Azure SQL and others are named so.
 *
 * @throws {UsageError} if it is neither a URI (RFC 3986, 3) nor a GUID, is a permission, or has a mistake in http: or https:.
 */
export function scopeOfResource(resource: string): string {
  const name = resourceOf(resource);
  const isScope = !GRAPH_VERSION.test(name) && (/\/user_impersonation$/i.test(name) || GRAPH_PERMISSION.test(name));
  if (isScope) {
    throw new UsageError(`--resource takes an API, and ${name} is a permission of one: write --scope ${name}`);
  }
  const version = GRAPH_VERSION.exec(name);
  if (version) {
    throw new UsageError(`--resource takes an API, and ${name} is a version of one: write --resource ${version[1]}`);
  }
  const [, scheme, rest = ""] = /^([a-z][a-z0-9+.-]*):(.*)$/is.exec(name) ?? [];
  const isUri = /^\/\/[^/]/.test(rest) || scheme?.toLowerCase() === "urn";
  if (isGuid(name) || scheme !== undefined && isUri && !isMisspelledHttp(scheme)) return defaultScope(name);
  const forms = "--resource takes a URL such as https://graph.microsoft.com, another URI such as api://ID, or a GUID";
  const meant = httpsFormOf(name);
  const advice = meant === undefined
    ? "name another one by its scope: --scope RESOURCE/.default"
    : `did you mean ${meant}?`;
  throw new UsageError(`${forms}, not ${JSON.stringify(resource)}; ${advice}`);
}

/** Returns the https URL that a name without a scheme, or with a misspelled one, can mean. */
function httpsFormOf(name: string): string | undefined {
  const [, scheme, rest = ""] = /^(?:([a-z][a-z0-9+.-]*):)?\/*([\w-]+(?:\.[\w-]+)+(?:[/:].*)?)$/is.exec(name) ?? [];
  if (rest === "" || scheme !== undefined && !/^https?$/i.test(scheme) && !isMisspelledHttp(scheme)) return undefined;
  return `https://${rest}`;
}

/** Returns true if a scheme is nearly `http` or `https`: no API has such a one. */
function isMisspelledHttp(scheme: string): boolean {
  const lower = scheme.toLowerCase();
  const isNear = /^(h|tt)/.test(lower) && nearestName(lower, ["http", "https"]) !== undefined;
  return isNear && !["http", "https"].includes(lower);
}

/** A permission of Microsoft Graph, whose resources have no path. */
const GRAPH_PERMISSION =
  /^https:\/\/(graph\.microsoft\.(com|us)|dod-graph\.microsoft\.us|microsoftgraph\.chinacloudapi\.cn)\/[\w-]+(\.[\w-]+)+$/i;
/** A version in the URLs of Microsoft Graph, which is no part of the resource. */
const GRAPH_VERSION =
  /^(https:\/\/(?:graph\.microsoft\.(?:com|us)|dod-graph\.microsoft\.us|microsoftgraph\.chinacloudapi\.cn))\/(?:v1\.0|beta)(?:\/.*)?$/i;

/**
 * Returns the scopes that the command line names for a protected server; none if it names none. At a provider other than
 * Microsoft, --resource is a resource indicator (RFC 8707), and may be given as well.
 *
 * @throws {UsageError} if they are invalid.
 */
export function scopesForServer(line: CommandLine): readonly string[] {
  const { kind } = parseAuthority(line.text("authority") ?? DEFAULT_AUTHORITY);
  return scopesOf(kind === "oidc" ? line.with({ resource: undefined }) : line, []);
}

/**
 * Returns the scopes if none are given: at Microsoft all that the app may do with Microsoft Graph; elsewhere a scope that every
 * OpenID provider knows (OpenID Connect Core, 5.4).
 */
export function defaultScopesOf(line: CommandLine): readonly string[] {
  return isAtMicrosoft(line) ? [GRAPH_SCOPE] : ["email"];
}
