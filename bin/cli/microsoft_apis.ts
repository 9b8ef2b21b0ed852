/**
 * Microsoft's APIs, by their ids and URLs.
 *
 * @module
 */

/** Forms of the ids that Microsoft gave to its first services, such as Graph and Exchange Online, and SharePoint. */
const FIRST_SERVICES = /-0000-0000-c000-000000000000$|-0ff1-ce00-000000000000$/i;
/** Ids of services that Azure CLI may use with all of the user's rights. */
const SERVICES: Readonly<Record<string, string>> = {
  "00000003-0000-0000-c000-000000000000": "Microsoft Graph",
  "797f4846-ba00-4fd7-ba43-dac1f8f63013": "Azure Resource Manager",
  "499b84ac-1321-427f-aa17-267ca6975798": "Azure DevOps",
  "cfa8b339-82a2-471a-a3c9-0fc0be7a4093": "Azure Key Vault",
  "e406a681-f3d4-42a8-90b6-c2b029497af1": "Azure Storage",
  "022907d3-0f1b-48f7-badc-1ba6abab6d66": "Azure SQL Database",
};
/** Domains of Microsoft's services. */
const DOMAINS =
  /(^|\.)((microsoft|azure|office|office365|sharepoint|powerbi|dynamics|visualstudio)\.com|(azure|windows)\.net|azure\.(cn|us)|chinacloudapi\.cn|microsoftonline\.\w+)$/i;

/**
 * Returns the name of an API of Microsoft's, for which a cluster gets no token; `undefined` for an id that can be a cluster's. An
 * id says nothing about its owner, so not every API is known; ids other than that of Azure Kubernetes Service count only if the
 * user names them.
 */
export function microsoftApiOf(id: string): string | undefined {
  const name = SERVICES[id.toLowerCase()];
  if (name !== undefined) return name;
  if (FIRST_SERVICES.test(id)) return `the API ${id} of Microsoft`;
  if (!URL.canParse(id)) return undefined;
  const { protocol, hostname } = new URL(id);
  return protocol === "https:" && DOMAINS.test(hostname) ? `the API ${id} of Microsoft` : undefined;
}
