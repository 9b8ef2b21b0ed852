/**
 * Which servers of git's get a token, and what for. Pure.
 *
 * @module
 */
import { DEFAULT_AUTHORITY, environmentAliases, isLoopbackHost } from "../lib/authority.ts";
import type { CredentialRequest } from "./git_credential.ts";

/** What is asked for, for a server. */
export interface GitHost {
  readonly scopes: readonly string[];
  /** Values of options that the configuration file has for the server. */
  readonly values: Readonly<Record<string, string>>;
}

/** Azure DevOps' id, which is the same in all tenants. */
const AZURE_DEVOPS_SCOPE = "499b84ac-1321-427f-aa17-267ca6975798/.default";
/** The documented names of Azure DevOps: `dev.azure.com/ORGANISATION`, and the older `ORGANISATION.visualstudio.com`. */
const AZURE_DEVOPS = /^https:\/\/(dev\.azure\.com|[a-z0-9]([a-z0-9-]*[a-z0-9])?\.visualstudio\.com)$/;
const HOST = /^([a-z0-9.-]+|\[[0-9a-f:.]+\])(:\d{1,5})?$/i;

/**
 * What the server of a request is asked a token for.
 *
 * @param request What git asks for.
 * @param entries Values of the configuration file, by server.
 * @returns `undefined` for a server that gets none.
 */
export function findGitHost(
  { protocol, host }: Pick<CredentialRequest, "protocol" | "host">,
  entries: Readonly<Record<string, Readonly<Record<string, string>>>>,
): GitHost | undefined {
  const origin = ["http", "https"].includes(protocol) && HOST.test(host)
    ? originOf(`${protocol}://${host}`)
    : undefined;
  if (origin === undefined) return undefined;
  const [, { scope, ...values } = {}] = Object.entries(entries).find(([name]) => originsOf(name).includes(origin)) ??
    [];
  if (scope !== undefined) return { scopes: scope.split(/\s+/).filter(Boolean), values };
  return AZURE_DEVOPS.test(origin) ? { scopes: [AZURE_DEVOPS_SCOPE], values } : undefined;
}

/** Whether a name can be a server's: `git.contoso.com`, `git.contoso.com:8443`, `http://git.contoso.com`. */
export function isGitHost(name: string): boolean {
  return originsOf(name).length > 0;
}

/**
 * The addresses that a name in the configuration file is for: a host is one behind TLS, or on this machine. What goes over the
 * network unencrypted has to be named so.
 */
function originsOf(name: string): readonly string[] {
  const [, scheme, host = ""] = /^(https?:\/\/)?([^/]+)\/?$/i.exec(name) ?? [];
  const secure = originOf(`https://${host}`), plain = originOf(`http://${host}`);
  if (!HOST.test(host) || secure === undefined || plain === undefined) return [];
  if (scheme !== undefined) return [scheme.toLowerCase() === "https://" ? secure : plain];
  return isLoopbackHost(new URL(plain).hostname) ? [secure, plain] : [secure];
}

function originOf(address: string): string | undefined {
  return URL.canParse(address) ? new URL(address).origin : undefined;
}

/** Whether the server takes a bearer token, as far as it says. One that says nothing of it may. */
export function takesBearer({ challenges }: Pick<CredentialRequest, "challenges">): boolean {
  const schemes = challenges.map((challenge) => challenge.trim().split(/[\s,]/)[0]!.toLowerCase());
  return challenges.some((challenge) => BEARER.test(challenge)) || !schemes.includes("basic");
}

const BEARER = /(^|,)\s*Bearer(\s|,|$)/i;
const GUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NO_TENANT = "00000000-0000-0000-0000-000000000000";

/**
 * The tenant that the server wants the token from, as Azure DevOps says: an organisation is in one, which a guest has to be told.
 *
 * @returns `undefined` where it does not say, or names no tenant of Microsoft's.
 */
export function challengedTenant({ challenges }: Pick<CredentialRequest, "challenges">): string | undefined {
  for (const challenge of challenges.filter((each) => BEARER.test(each))) {
    const [, quoted, bare = ""] = /authorization_uri\s*=\s*(?:"([^"]*)"|([^\s,]+))/i.exec(challenge) ?? [];
    const address = quoted ?? bare;
    if (!URL.canParse(address)) continue;
    const { protocol, host, pathname } = new URL(address), tenant = pathname.split("/")[1]!.toLowerCase();
    // Azure DevOps is in the public cloud, and so are its tenants.
    const isPublicCloud = environmentAliases(host)[0] === new URL(DEFAULT_AUTHORITY).host;
    if (protocol === "https:" && isPublicCloud && GUID.test(tenant) && tenant !== NO_TENANT) return tenant;
  }
  return undefined;
}
