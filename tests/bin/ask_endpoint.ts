/** Requests to a managed-identity endpoint, as a program makes them. */
import { request, type RequestOptions } from "node:http";

/** Where an endpoint is, and what it wants to know. */
export type Place = { readonly socketPath: string } | { readonly port: number; readonly secret: string };

/** What it answered. */
export interface Answer {
  readonly status: number;
  // deno-lint-ignore no-explicit-any -- tests look deep into it
  readonly body: any;
}

/** Asks for a resource; `parameters` are added. */
export function askEndpoint(
  place: Place,
  resource: string,
  parameters: Readonly<Record<string, string>> = {},
): Promise<Answer> {
  return startAsking(place, resource, parameters).answer;
}

/** The same, of which one can think better. */
export function startAsking(
  place: Place,
  resource: string,
  parameters: Readonly<Record<string, string>> = {},
): { readonly answer: Promise<Answer>; readonly leave: () => void } {
  const query = new URLSearchParams({ resource, "api-version": "2019-08-01", ...parameters });
  const headers = "secret" in place ? { "x-identity-header": place.secret } : {};
  return send(place, { path: `/msi/token?${query}`, headers });
}

/** Asks as azd does (azure-dev, remote_credential.go). */
export async function askAsAzd(place: Place, scopes: readonly string[], tenantId?: string): Promise<Answer> {
  const content = JSON.stringify({ scopes, tenantId });
  const headers = {
    authorization: `Bearer ${"secret" in place ? place.secret : "any"}`,
    "content-type": "application/json",
    "content-length": `${content.length}`,
  };
  return await send(place, { path: "/token?api-version=2023-07-12-preview", method: "POST", headers }, content).answer;
}

function send(place: Place, options: RequestOptions, content?: string): ReturnType<typeof startAsking> {
  const host = "port" in place ? "127.0.0.1" : undefined;
  const asked = request({ ...place, ...options, host, agent: false });
  const answer = new Promise<Answer>((resolve, reject) => {
    asked.once("error", reject);
    asked.once("response", (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => text += chunk);
      response.once("end", () => resolve({ status: response.statusCode!, body: JSON.parse(text) }));
    });
    asked.end(content);
  });
  return { answer, leave: () => void asked.destroy() };
}
