/**
 * Check of the network: whether the authority answers, through the company's proxy and behind its certificates.
 *
 * @module
 */
import { LatchkeyError } from "../mod.ts";
import { denoNamespace, readEnvironment } from "../lib/platform/host.ts";
import { makeFetch } from "../lib/platform/http_client.ts";
import { proxyFor } from "../lib/platform/proxy.ts";
import { asFailure, type Check, failed, type Finding, notChecked, ok } from "./doctor_check.ts";

/** Where authorities say what their endpoints are (OpenID Connect Discovery, 4); Microsoft's newer ones have it a step below. */
const DOCUMENTS = ["/.well-known/openid-configuration", "/v2.0/.well-known/openid-configuration"];

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
  return notChecked(`Deno may not connect to ${host}`, `Run deno with --allow-net=${host}`);
}

async function reach(authority: string, signal: AbortSignal): Promise<Finding> {
  const send = makeFetch(), url = new URL(authority), begin = performance.now();
  let status = 0;
  try {
    const proxy = proxyFor(url, readEnvironment), way = proxy ? ` through the proxy ${proxy.host}` : "";
    for (const document of DOCUMENTS) {
      const response = await send(`${url.href.replace(/\/+$/, "")}${document}`, { signal });
      await response.body?.cancel();
      status = response.status;
      if (status === 200) return ok(`${url.host} answered${way} in ${Math.ceil(performance.now() - begin)} ms`);
    }
    return failed(`${url.host} answered${way} that it is no authority (status ${status})`, "Check --authority");
  } catch (error) {
    if (error instanceof LatchkeyError && error.code === "missing_dependency") {
      return notChecked(error.message, error.hint); // the proxy's address
    }
    return asFailure(error);
  }
}
