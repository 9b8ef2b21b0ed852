/** Stands in for Azure Resource Manager and Microsoft Graph, as far as `latchkey az` asks them. */

export interface FakeSubscription {
  readonly id: string;
  readonly name: string;
  readonly state?: string;
  readonly tenantId?: string;
}

/** The services, on a port of their own. */
export interface FakeAzure extends AsyncDisposable {
  readonly url: string;
  /** Paths that were asked for, with the audience of the token. */
  readonly asked: { readonly path: string; readonly audience: unknown }[];
  /** What Resource Manager lists, a page each. */
  pages: readonly (readonly FakeSubscription[])[];
  /** What it answers instead. */
  failure: { readonly status: number; readonly body: string } | undefined;
  /** Where the second page is said to be. @default here */
  elsewhere: string | undefined;
}

/** Starts the services. */
export function startFakeAzure(tenantId: string): FakeAzure {
  const fake = { asked: [] as FakeAzure["asked"], pages: [] as FakeAzure["pages"] };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch(request) {
      const { pathname, searchParams } = new URL(request.url),
        [, token = ""] = request.headers.get("authorization")!.split(" ");
      const { aud } = JSON.parse(atob(token.split(".")[1]!.replaceAll("-", "+").replaceAll("_", "/")));
      azure.asked.push({ path: pathname, audience: aud });
      if (azure.failure) return new Response(azure.failure.body, { status: azure.failure.status });
      if (pathname === "/v1.0/me") return Response.json(ME);
      if (pathname !== "/subscriptions" || !searchParams.has("api-version")) return new Response("", { status: 404 });
      const page = Number(searchParams.get("page") ?? 0), next = azure.pages.length > page + 1;
      const nextLink = `${azure.elsewhere ?? azure.url}/subscriptions?api-version=2022-12-01&page=${page + 1}`;
      return Response.json({ value: (azure.pages[page] ?? []).map(listed), ...(next && { nextLink }) });
    },
  });
  const azure: FakeAzure = {
    ...fake,
    url: `http://127.0.0.1:${server.port}`,
    failure: undefined,
    elsewhere: undefined,
    [Symbol.asyncDispose]: () => server.stop(true),
  };
  return azure;

  function listed({ id, name, state = "Enabled", tenantId: own = tenantId }: FakeSubscription): object {
    const policies = {
      locationPlacementId: "Public_2014-09-01",
      quotaId: "PayAsYouGo_2014-09-01",
      spendingLimit: "Off",
    };
    return {
      id: `/subscriptions/${id}`,
      authorizationSource: "RoleBased",
      managedByTenants: [],
      subscriptionId: id,
      tenantId: own,
      displayName: name,
      state,
      subscriptionPolicies: policies,
    };
  }
}

/** Graph's answer for a user. */
export const ME = {
  "@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users/$entity",
  "businessPhones": [],
  "displayName": "Jane",
  "givenName": null,
  "id": "22222222-2222-2222-2222-222222222222",
  "jobTitle": null,
  "mail": "jane@contoso.com",
  "mobilePhone": null,
  "officeLocation": null,
  "preferredLanguage": null,
  "surname": null,
  "userPrincipalName": "jane@contoso.com",
};
