/**
 * Check of the network: whether the authority answers, through the company's proxy and behind its certificates.
 *
 * @module
 */
import { LatchkeyError, PublicClientApplication } from "../mod.ts";
import { denoNamespace, quoteCommand, readEnvironment } from "../lib/platform/host.ts";
import { makeFetch } from "../lib/platform/http_client.ts";
import { proxyFor } from "../lib/platform/proxy.ts";
import { asFailure, type Check, failed, type Finding, notChecked, ok } from "./doctor_check.ts";

/** Where Microsoft Entra ID says what its endpoints are (OpenID Connect Discovery, 4). */
const DOCUMENT = "/v2.0/.well-known/openid-configuration";

/** The way to the server that tokens come from. A broker has its own, and may get there nevertheless. */
export const network: Check = {
  id: "network",
  limitMs: 5_000,
  after: ["silent_token"],
  async run({ authority }, { signal, stateOf }) {
    const finding = notPermitted(authority) ?? await reach(authority, signal);
    if (finding.state !== "failed" || stateOf("silent_token") !== "ok") return finding;
    return { ...finding, state: "unknown", detail: `${finding.detail}; there was a silent token nevertheless` };
  },
};

/** What is found where Deno may not connect to a server. */
export function notPermitted(url: string): Finding | undefined {
  const { host } = new URL(url), deno = denoNamespace();
  if (!deno || deno.permissions.querySync({ name: "net", host }).state === "granted") return undefined;
  return notChecked(`Deno may not connect to ${host}`, `Run deno with ${quoteCommand([`--allow-net=${host}`])}`);
}

async function reach(authority: string, signal: AbortSignal): Promise<Finding> {
  const send = makeFetch(), url = new URL(authority), begin = performance.now();
  let isAsked = false;
  const app = new PublicClientApplication({
    ...{ clientId: "latchkey", authority },
    fetch: (url, init) => {
      isAsked = true;
      return send(url, { ...init, signal: AbortSignal.any([signal, ...init.signal ? [init.signal] : []]) });
    },
  });
  try {
    const proxy = proxyFor(url, readEnvironment), way = proxy ? ` through the proxy ${proxy.host}` : "";
    await app.getAuthorizationRequestUrl({ scopes: ["User.Read"] }); // asks whoever's endpoints are not known
    if (!isAsked) {
      const [, tenant] = url.pathname.split(/\/+/); // whatever follows is none of its endpoints
      const { status, body } = await send(`${url.origin}/${tenant}${DOCUMENT}`, { signal });
      await body?.cancel();
      if (status !== 200) {
        return failed(`${url.host} answered${way} that it is no authority (status ${status})`, "Check --authority");
      }
    }
    return ok(`${url.host} answered${way} in ${Math.ceil(performance.now() - begin)} ms`);
  } catch (error) {
    if (error instanceof LatchkeyError && error.code === "missing_dependency") {
      return notChecked(error.message, error.hint); // the proxy's address
    }
    return asFailure(error);
  } finally {
    app.close();
  }
}
