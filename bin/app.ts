/**
 * `latchkey app`.
 *
 * @module
 */
import { type RedirectUri, redirectUris, type SignInWay } from "../mod.ts";
import { write } from "../lib/platform/program.ts";
import { clientIdOf, wellKnownName } from "./app_options.ts";
import type { CommandLine } from "./command_line.ts";
import { visibleJson } from "./visible.ts";

const WAYS: Readonly<Record<SignInWay, string>> = {
  windows: "Windows",
  wsl: "WSL",
  macos: "macOS",
  linux: "Linux",
  browser: "the browser, where there is no broker",
};

/** Prints what an app registration has to have so that people can sign in to the app everywhere, and how to add it. */
export function printRegistration(line: CommandLine): Promise<void> {
  const clientId = clientIdOf(line), uris = redirectUris(clientId), owner = wellKnownName(clientId);
  const isJson = line.text("format") === "json";
  write("stdout", isJson ? registrationJson(clientId, uris, owner) : registrationText(clientId, uris, owner));
  return Promise.resolve();
}

function registrationJson(clientId: string, uris: readonly RedirectUri[], owner: string | undefined): string {
  return `${
    visibleJson({
      client_id: clientId,
      redirect_uris: uris,
      public_client: true,
      owner: owner === undefined ? "you" : "microsoft",
      ...(owner === undefined && { az: azCommand(clientId, uris) }),
    })
  }\n`;
}

function registrationText(clientId: string, uris: readonly RedirectUri[], owner: string | undefined): string {
  if (owner !== undefined) {
    return `${owner} is an app of Microsoft's: its registration cannot be changed by you, and has what Microsoft gave it.
Where a redirect URI is missing (AADSTS50011), use an app registration of your own:
  az ad app create --display-name NAME --is-fallback-public-client true
  latchkey app --client-id ID
`;
  }
  const width = Math.max(...uris.map(({ uri }) => uri.length));
  const rows = uris.map(({ uri, ways }) => `  ${uri.padEnd(width)}  ${ways.map((way) => WAYS[way]).join(", ")}\n`);
  return `Redirect URIs for the app registration ${clientId}:
${rows.join("")}
With Azure CLI. What is given takes the place of all that is there: add what the app has already.
  az ad app show --id ${clientId} --query publicClient.redirectUris
  ${azCommand(clientId, uris)}

In the portal: https://entra.microsoft.com, App registrations, the app, Authentication:
  Add a platform, Mobile and desktop applications: each of them as a custom redirect URI
  Advanced settings, Allow public client flows: Yes
`;
}

function azCommand(clientId: string, uris: readonly RedirectUri[]): string {
  return `az ad app update --id ${clientId} --is-fallback-public-client true ` +
    `--public-client-redirect-uris ${uris.map(({ uri }) => uri).join(" ")}`;
}
