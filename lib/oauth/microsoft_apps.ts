/**
 * Microsoft's own apps and APIs, whose tokens no server or cluster of others may get by naming them.
 *
 * @module
 */

/** Id of the server app that all clusters of Azure Kubernetes Service share. */
export const AKS_SERVER: string = "6dae42f8-4368-4678-94ff-3960e28e3630";

/** The oldest ids, such as those of Microsoft Graph, Exchange, SharePoint, Power BI and Dataverse. */
const FIRST_IDS = /^000000[\da-f]{2}-0000-0[\da-f]{3}-c[0e]00-000000000000$/;

/** Names of apps by their ids. */
const NAMES: ReadonlyMap<string, string> = new Map([
  ["00000003-0000-0000-c000-000000000000", "Microsoft Graph"],
  ["797f4846-ba00-4fd7-ba43-dac1f8f63013", "Azure Resource Manager"],
  ["cfa8b339-82a2-471a-a3c9-0fc0be7a4093", "Azure Key Vault"],
  ["e406a681-f3d4-42a8-90b6-c2b029497af1", "Azure Storage"],
  ["e9f49c6b-5ce5-44c8-925d-015017e9f7ad", "Azure Data Lake"],
  ["022907d3-0f1b-48f7-badc-1ba6abab6d66", "Azure SQL"],
  ["123cd850-d9df-40bd-94d5-c9f07b7fa203", "Azure Database"],
  ["80369ed6-5f11-4dd9-bef3-692475845e77", "Azure Event Hubs"],
  ["80a10ef9-8168-493d-abf9-3297c4ef6e3c", "Azure Service Bus"],
  ["ddbf3205-c6bd-46ae-8127-60eb93363864", "Azure Batch"],
  ["ca7f3f0b-7d91-482c-8e09-c5d840d0eac5", "Azure Log Analytics"],
  ["2ff814a6-3304-4ab8-85cb-cd0e6f879c1d", "Azure Databricks"],
  ["7d312290-28c8-473c-a0ed-8e53749b6d6d", "Azure AI services"],
  [AKS_SERVER, "Azure Kubernetes Service"],
  ["499b84ac-1321-427f-aa17-267ca6975798", "Azure DevOps"],
  ["2a72489c-aab2-4b65-b93a-a91edccf33b8", "Azure DevOps MCP"],
  ["73c2949e-da2d-457a-9607-fcc665198967", "Microsoft Purview"],
  ["475226c6-020e-4fb2-8a90-7a972cbfc1d4", "Power Apps"],
  ["7df0a125-d3be-4c96-aa54-591f83ff541c", "Power Automate"],
  ["c5393580-f805-4401-95e8-94b7a6ef2fc2", "Office 365 Management"],
  ["cc15fd57-2c6c-4117-a88c-83b1d56b4bbe", "Microsoft Teams"],
  ["1fec8e78-bce4-4aaf-ab1b-5451cc387264", "Microsoft Teams, the client"],
  ["d3590ed6-52b3-4102-aeff-aad2292ab01c", "Microsoft Office"],
  ["fc780465-2017-40d4-a0c5-307022471b92", "Microsoft Defender for Endpoint"],
  ["8ee8fdad-f234-4243-8f3b-15c294843740", "Microsoft Defender XDR"],
  ["04b07795-8ddb-461a-bbee-02f9e1bf7b46", "Azure CLI"],
  ["1950a258-227b-4e31-a9cf-717495945fc2", "Azure PowerShell"],
]);

/** Returns true if an application id, in upper or lower case, is known as Microsoft's own app. */
export function isMicrosoftApp(id: string): boolean {
  const key = id.toLowerCase();
  return FIRST_IDS.test(key) || NAMES.has(key);
}

/** Domains of Microsoft's services. */
const DOMAINS: readonly string[] = [
  ...["microsoft.com", "azure.com", "office.com", "office365.com", "outlook.com", "sharepoint.com", "onenote.com"],
  ...["powerbi.com", "powerapps.com", "powerplatform.com", "dynamics.com", "visualstudio.com", "yammer.com"],
  ...["azure.net", "windows.net", "azuredatabricks.net", "azuresynapse.net", "office.net"],
  ...["applicationinsights.io", "loganalytics.io"],
  ...["azure.cn", "azure.us", "chinacloudapi.cn", "microsoft.us", "office365.us", "usgovcloudapi.net"],
];
const SIGN_IN_DOMAIN = /(^|\.)microsoftonline\.\w+$/;

/**
 * Returns the name of an API of Microsoft's, for which a cluster gets no token; `undefined` for an id that can be a cluster's. An
 * id says nothing about its owner, so not every API is known; ids other than {@linkcode AKS_SERVER} count only if the user names
 * them. Entra takes an application id by itself, after `spn:` and in `api://`.
 */
export function microsoftApiOf(id: string): string | undefined {
  const names = id.toLowerCase().replace(/^(spn:|api:\/\/)+/, "").split("/");
  const app = names.find((name) => name !== AKS_SERVER && isMicrosoftApp(name));
  if (app !== undefined) return NAMES.get(app) ?? `the API ${id} of Microsoft`;
  return URL.canParse(id) && isMicrosoftService(new URL(id)) ? `the API ${id} of Microsoft` : undefined;
}

function isMicrosoftService({ protocol, hostname }: URL): boolean {
  if (!["https:", "http:"].includes(protocol)) return false;
  const host = hostname.replace(/\.+$/, "");
  return SIGN_IN_DOMAIN.test(host) || DOMAINS.some((domain) => host === domain || host.endsWith(`.${domain}`));
}

/**
 * Returns true if a scope is of an app that an organization registered, by its application id URI (`api://…`): not of an app
 * that is known as Microsoft's, nor of the audiences of workload identity federation (`api://AzureADTokenExchange`).
 */
export function isOrganizationScope(scope: string): boolean {
  const [, path] = /^api:\/\/([\w.~-]+(?:\/[\w.~-]+)+)$/.exec(scope) ?? [];
  const names = path?.split("/") ?? [];
  return names.length > 0 &&
    !names.some((name) => isMicrosoftApp(name) || /^(\.{1,2}$|AzureADTokenExchange)/i.test(name));
}
