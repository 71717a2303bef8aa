//! The calls of the gRPC service.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use proto::object::KeyError;
use proto::status::{Reason, RemoteError};
use proto::token::{Caller, Role, is_node_id};
use proto::v1::control_server::Control;
use proto::v1::{
    AccessKeyInfo, AccountInfo, ChangeAccessKeyRequest, CreateAccessKeyRequest, CreateAccessKeyResponse,
    CreateAccountRequest, DeleteAccountRequest, DeleteAccountResponse, ListAccessKeysRequest,
    ListAccessKeysResponse, ListAccountsRequest, ListAccountsResponse, ListSealingKeysRequest,
    ListSealingKeysResponse, ResealSecretsRequest, ResealSecretsResponse,
};
use proto::v1::{
    ApplyRequest, ApplyResponse, BackupPage, DeploymentStatus, DeregisterRequest, DeregisterResponse,
    Distribution, DrainRequest, DrainResponse, ExportRequest, GetCertificateAuthorityRequest,
    GetCertificateAuthorityResponse, ImportResponse, ListDistributionsRequest, ListDistributionsResponse,
    ListNodesRequest, ListNodesResponse, NodeStatus, PurgeDistributionRequest, PurgeDistributionResponse,
    PurgeRequest, RegisterRequest, RegisterResponse, Revision, SubscribeEvent, SubscribeRequest,
};
use proto::v1::{
    ChangeGrantRequest, ChangeGrantResponse, ChangeSignerRequest, ChangeSignerResponse, ListGrantsRequest,
    ListGrantsResponse, ListOriginKeysRequest, ListOriginKeysResponse, ListSignersRequest,
    ListSignersResponse, SetOriginKeysRequest, SetOriginKeysResponse,
};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use super::{ControlConfig, access, lending, operator, rights, secrets};
use crate::accounts::Accounts;
use crate::client::catalogue::refusals::bounded;
use crate::documents::{self, DISTRIBUTIONS, MEMBERS};
use crate::door::authority;
use crate::lending::grants::Right;
use crate::lifecycle::{Change, Condition, Report, is_deployed, is_unreadable, roster};
use crate::membership;
use crate::metrics::Metrics;
use crate::mirror::view::View;
use crate::publish::Subscription;
use crate::shields::{Purged, Shields};
use crate::store::{Store, StoreError};

/// Leases asked after at once.
const LEASES_AT_ONCE: usize = 16;
const LIST_DEFAULT: usize = 100;
const LIST_MOST: usize = 1000;

pub(super) struct Calls {
    pub(super) store: Store,
    pub(super) config: ControlConfig,
    pub(super) metrics: Metrics,
    pub(super) views: watch::Receiver<Arc<View>>,
    pub(super) accounts: Accounts,
    pub(super) reports: watch::Receiver<Arc<BTreeMap<String, Report>>>,
    pub(super) shields: Shields,
    pub(super) shutdown: CancellationToken,
}

pub(super) fn refused(reason: Reason, message: impl Into<String>) -> Status {
    RemoteError::new(reason, message).into()
}

pub(super) fn of_store(error: StoreError) -> Status {
    let reason = match error {
        StoreError::Away(_) => Reason::Unavailable,
        StoreError::Conflict { .. } => Reason::Overloaded,
        StoreError::Damaged(_) => Reason::Internal,
    };
    refused(reason, error.to_string())
}

impl Calls {
    pub(super) fn view(&self) -> Result<Arc<View>, Status> {
        let view = self.views.borrow().clone();
        if view.is_loaded() {
            Ok(view)
        } else {
            Err(refused(Reason::Unavailable, "control has not read its store yet"))
        }
    }

    /// Whether each of a page of distributions is deployed; `None` if the store, which alone knows the revisions, is away or ahead.
    async fn deployments(
        &self,
        view: &View,
        page: &[Distribution],
        after: &str,
        limit: usize,
    ) -> Option<Vec<DeploymentStatus>> {
        if !self.store_is_there() {
            return None;
        }
        let after = if after.is_empty() { String::new() } else { format!("{DISTRIBUTIONS}{after}") };
        let entries = self.store.page(DISTRIBUTIONS, &after, limit).await.ok()?;
        let modified: BTreeMap<&str, u64> =
            entries.iter().filter_map(|e| Some((e.key.strip_prefix(DISTRIBUTIONS)?, e.modified))).collect();
        let status = |d: &Distribution| {
            let modified = modified.get(d.id.as_str()).copied()?;
            let deployed = is_deployed(view, &Change::of(d, modified));
            Some(DeploymentStatus { modified, deployed, unreadable: is_unreadable(view, &d.id) })
        };
        page.iter().map(status).collect()
    }

    /// Whether the store is followed: what would only be waited for is not asked of one that is away.
    fn store_is_there(&self) -> bool {
        self.metrics.store_up.get() == 1
    }

    fn newest(&self) -> Option<Revision> {
        let view = self.views.borrow();
        view.is_loaded().then(|| view.revision())
    }
}

/// How node `id` stands.
fn node_status(view: &View, report: Option<&Report>, id: &str, age: Duration, now_ms: u64) -> NodeStatus {
    let entry = view.roster.get(id);
    let gone = || RegisterRequest {
        node_id: id.to_owned(),
        role: entry.map_or(0, |e| e.role),
        applied: entry.map(|e| Revision { store_id: e.store_id.clone(), number: e.applied }),
        refusals: entry.and_then(|e| e.refusals.clone()),
        ..Default::default()
    };
    let node = view.members.get(id).map_or_else(gone, |member| (**member).clone());
    let condition = report.map(|r| r.condition).or_else(|| Condition::of(view, id));
    let behind_ms = report.and_then(|r| r.behind_since).map_or(0, |since| since.elapsed().as_millis() as u64);
    let lapsed_ms = entry.filter(|e| e.lapsed_ms != 0).map_or(0, |e| now_ms.saturating_sub(e.lapsed_ms));
    NodeStatus {
        node: Some(node),
        age_ms: if view.members.contains_key(id) { age.as_millis() as u64 } else { lapsed_ms },
        condition: condition.map_or("", Condition::name).into(),
        behind_ms,
        drain: entry.is_some_and(|e| e.drain),
        lapsed_ms,
    }
}

#[tonic::async_trait]
impl Control for Calls {
    type SubscribeStream = ReceiverStream<Result<SubscribeEvent, Status>>;

    async fn subscribe(
        &self,
        request: Request<SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let caller = Caller::of(&request)?;
        let SubscribeRequest { node_id, resume_after, features } = request.into_inner();
        if !is_node_id(&node_id) {
            return Err(refused(Reason::Invalid, "node_id: is not 1 to 128 of [A-Za-z0-9._-]"));
        }
        caller.expect(&[Role::Edge, Role::Shield], "following the config")?;
        caller.expect_node(&node_id)?;
        rights::keeps_role(&caller, &node_id, &self.views.borrow())?;
        tracing::debug!(node = %node_id, ?resume_after, ?features, "subscription");
        let (sender, receiver) = mpsc::channel(self.config.publish.queue.max(1));
        let subscription = Subscription {
            node_id,
            role: caller.role,
            sealer: self.config.sealer.clone(),
            at: resume_after,
            views: self.views.clone(),
            store: self.store.clone(),
            config: self.config.publish.clone(),
            metrics: self.metrics.clone(),
            sender,
            shutdown: self.shutdown.clone(),
        };
        tokio::spawn(subscription.run());
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn register(
        &self,
        request: Request<RegisterRequest>,
    ) -> Result<Response<RegisterResponse>, Status> {
        let caller = Caller::of(&request)?;
        let mut request = request.into_inner();
        request.refusals = request.refusals.map(bounded);
        let outcome = async {
            membership::check(&request).map_err(|reason| refused(Reason::Invalid, reason))?;
            let view = self.views.borrow().clone();
            rights::may_register(&caller, &request, &view)?;
            membership::register(&self.store, &view, &request, self.config.lease).await.map_err(of_store)
        };
        let joined = match outcome.await {
            Ok(joined) => joined,
            Err(status) => {
                self.metrics.refused_registers.inc();
                return Err(status);
            }
        };
        self.metrics.registers.inc();
        let lease_ms = self.config.lease.as_millis() as u32;
        let (drain, excluded) = {
            // What was written just now may not have come by the watch: an order that a restart ended must not be given again.
            let view = self.views.borrow();
            let entry = joined.as_ref().or_else(|| view.roster.get(&request.node_id).map(|entry| &**entry));
            (entry.is_some_and(|e| e.drain), entry.is_some_and(|e| e.excluded))
        };
        Ok(Response::new(RegisterResponse { lease_ms, newest: self.newest(), drain, excluded }))
    }

    async fn deregister(
        &self,
        request: Request<DeregisterRequest>,
    ) -> Result<Response<DeregisterResponse>, Status> {
        let caller = Caller::of(&request)?;
        let node_id = request.into_inner().node_id;
        if !is_node_id(&node_id) {
            return Err(refused(Reason::Invalid, "node_id: is not 1 to 128 of [A-Za-z0-9._-]"));
        }
        rights::may_deregister(&caller, &node_id, &self.views.borrow())?;
        membership::deregister(&self.store, &node_id).await.map_err(of_store)?;
        tracing::info!(node = %node_id, "node left");
        Ok(Response::new(DeregisterResponse {}))
    }

    async fn apply(&self, request: Request<ApplyRequest>) -> Result<Response<ApplyResponse>, Status> {
        rights::operator(&request, "applying a file")?;
        operator::apply(self, &request.into_inner().yaml).await.map(Response::new)
    }

    type ExportStream = operator::Pages;

    async fn export(&self, request: Request<ExportRequest>) -> Result<Response<Self::ExportStream>, Status> {
        rights::operator(&request, "taking a backup")?;
        operator::export(self).await.map(Response::new)
    }

    async fn import(
        &self,
        request: Request<Streaming<BackupPage>>,
    ) -> Result<Response<ImportResponse>, Status> {
        rights::operator(&request, "putting back a backup")?;
        operator::import(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_nodes(
        &self,
        request: Request<ListNodesRequest>,
    ) -> Result<Response<ListNodesResponse>, Status> {
        rights::operator(&request, "listing nodes")?;
        let view = self.view()?;
        let reports = self.reports.borrow().clone();
        let mut ids: BTreeSet<String> = view.members.keys().cloned().collect();
        ids.extend(view.roster.keys().cloned());
        let now_ms = self.config.clock.now_ms();
        let nodes = futures::stream::iter(ids)
            .map(async |id| {
                // A store that is away leaves the age unknown, which is shown as the lease's whole length.
                let age = match self.store_is_there() {
                    true => self.store.lease_age(&format!("{MEMBERS}{id}")).await.ok().flatten(),
                    false => None,
                };
                let age = age.unwrap_or(self.config.lease);
                node_status(&view, reports.get(&id), &id, age, now_ms)
            })
            .buffered(LEASES_AT_ONCE)
            .collect()
            .await;
        Ok(Response::new(ListNodesResponse { nodes, newest: Some(view.revision()) }))
    }

    async fn list_distributions(
        &self,
        request: Request<ListDistributionsRequest>,
    ) -> Result<Response<ListDistributionsResponse>, Status> {
        rights::operator(&request, "listing distributions")?;
        let ListDistributionsRequest { after, limit } = request.into_inner();
        let view = self.view()?;
        let limit = if limit == 0 { LIST_DEFAULT } else { (limit as usize).min(LIST_MOST) };
        let mut rest = view.distributions.range::<String, _>((Bound::Excluded(&after), Bound::Unbounded));
        let distributions: Vec<Distribution> =
            rest.by_ref().take(limit).map(|(_, d)| (**d).clone()).collect();
        let truncated = rest.next().is_some();
        let deployments = self.deployments(&view, &distributions, &after, limit).await.unwrap_or_default();
        Ok(Response::new(ListDistributionsResponse {
            distributions,
            truncated,
            newest: Some(view.revision()),
            deployments,
            deployed_floor: view.deployed_floor,
        }))
    }

    async fn drain(&self, request: Request<DrainRequest>) -> Result<Response<DrainResponse>, Status> {
        rights::operator(&request, "draining")?;
        let DrainRequest { node_id, undo } = request.into_inner();
        if !is_node_id(&node_id) {
            return Err(refused(Reason::Invalid, "node_id: is not 1 to 128 of [A-Za-z0-9._-]"));
        }
        if !roster::drain(&*self.store, &node_id, !undo).await.map_err(of_store)? {
            return Err(refused(Reason::NotFound, format!("there is no node '{node_id}'")));
        }
        tracing::info!(node = %node_id, undo, "an operator drains a node");
        Ok(Response::new(DrainResponse {}))
    }

    async fn purge(
        &self,
        request: Request<PurgeDistributionRequest>,
    ) -> Result<Response<PurgeDistributionResponse>, Status> {
        rights::operator(&request, "purging")?;
        let PurgeDistributionRequest { distribution_id, key_prefix, exact } = request.into_inner();
        if key_prefix.len() > 1024 || key_prefix.chars().any(char::is_control) {
            let error =
                if key_prefix.len() > 1024 { KeyError::TooLong(key_prefix.len()) } else { KeyError::Control };
            return Err(refused(Reason::Invalid, format!("key_prefix: {error}")));
        }
        if exact && key_prefix.is_empty() {
            return Err(refused(Reason::Invalid, format!("key_prefix: {}", KeyError::Empty)));
        }
        let view = self.view()?;
        let Some(distribution) = view.distributions.get(&distribution_id) else {
            return Err(refused(Reason::NotFound, format!("there is no distribution '{distribution_id}'")));
        };
        let order =
            PurgeRequest { origin_id: distribution.origin_id.clone(), key_prefix: key_prefix.clone(), exact };
        // Shields first: an edge that then refetches must not find the old bytes there.
        let Purged { entries: shield_entries, unreached } =
            self.shields.purge(&view, std::slice::from_ref(&order), &self.metrics).await;
        let (purge, number) =
            documents::put_purge(&*self.store, &order, self.config.purge_ttl).await.map_err(of_store)?;
        self.metrics.purges.inc();
        tracing::info!(
            distribution = %distribution_id, purge = %purge.id, %key_prefix, exact, shield_entries, revision = number, "purged"
        );
        let revision = Some(Revision { store_id: view.store_id.clone(), number });
        Ok(Response::new(PurgeDistributionResponse { shield_entries, unreached, revision }))
    }

    async fn get_certificate_authority(
        &self,
        request: Request<GetCertificateAuthorityRequest>,
    ) -> Result<Response<GetCertificateAuthorityResponse>, Status> {
        rights::operator(&request, "reading the local authority")?;
        let certificate = authority::certificate(&*self.store).await.map_err(of_store)?;
        let Some(certificate_pem) = certificate else {
            let reason = "there is no local authority: a control without api.tls makes one at its start, if it has a key for secrets";
            return Err(refused(Reason::NotFound, reason));
        };
        Ok(Response::new(GetCertificateAuthorityResponse { certificate_pem }))
    }

    async fn create_account(
        &self,
        request: Request<CreateAccountRequest>,
    ) -> Result<Response<AccountInfo>, Status> {
        rights::operator(&request, "making accounts")?;
        access::create_account(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_accounts(
        &self,
        request: Request<ListAccountsRequest>,
    ) -> Result<Response<ListAccountsResponse>, Status> {
        rights::operator(&request, "listing accounts")?;
        access::list_accounts(self, &request.into_inner()).map(Response::new)
    }

    async fn delete_account(
        &self,
        request: Request<DeleteAccountRequest>,
    ) -> Result<Response<DeleteAccountResponse>, Status> {
        rights::operator(&request, "deleting accounts")?;
        access::delete_account(self, &request.into_inner().account).await.map(Response::new)
    }

    async fn create_access_key(
        &self,
        request: Request<CreateAccessKeyRequest>,
    ) -> Result<Response<CreateAccessKeyResponse>, Status> {
        rights::operator(&request, "making access keys")?;
        access::create_key(self, request.into_inner()).await.map(Response::new)
    }

    async fn list_access_keys(
        &self,
        request: Request<ListAccessKeysRequest>,
    ) -> Result<Response<ListAccessKeysResponse>, Status> {
        rights::operator(&request, "listing access keys")?;
        access::list_keys(self, &request.into_inner()).map(Response::new)
    }

    async fn change_access_key(
        &self,
        request: Request<ChangeAccessKeyRequest>,
    ) -> Result<Response<AccessKeyInfo>, Status> {
        rights::operator(&request, "changing access keys")?;
        access::change_key(self, &request.into_inner()).await.map(Response::new)
    }

    async fn list_sealing_keys(
        &self,
        request: Request<ListSealingKeysRequest>,
    ) -> Result<Response<ListSealingKeysResponse>, Status> {
        rights::operator(&request, "listing the keys of secrets")?;
        secrets::list(self).await.map(Response::new)
    }

    async fn reseal_secrets(
        &self,
        request: Request<ResealSecretsRequest>,
    ) -> Result<Response<ResealSecretsResponse>, Status> {
        rights::operator(&request, "sealing secrets anew")?;
        secrets::reseal(self, &request.into_inner()).await.map(Response::new)
    }

    async fn set_origin_keys(
        &self,
        request: Request<SetOriginKeysRequest>,
    ) -> Result<Response<SetOriginKeysResponse>, Status> {
        rights::operator(&request, "setting the keys of origins")?;
        lending::set_origin_keys(self, request.into_inner()).await?;
        Ok(Response::new(SetOriginKeysResponse {}))
    }

    async fn list_origin_keys(
        &self,
        request: Request<ListOriginKeysRequest>,
    ) -> Result<Response<ListOriginKeysResponse>, Status> {
        rights::operator(&request, "listing the keys of origins")?;
        lending::list_origin_keys(self).await.map(Response::new)
    }

    async fn change_grant(
        &self,
        request: Request<ChangeGrantRequest>,
    ) -> Result<Response<ChangeGrantResponse>, Status> {
        rights::operator(&request, "changing grants")?;
        lending::change_grant(self, Right::Read, request.into_inner()).await?;
        Ok(Response::new(ChangeGrantResponse {}))
    }

    async fn change_log_grant(
        &self,
        request: Request<ChangeGrantRequest>,
    ) -> Result<Response<ChangeGrantResponse>, Status> {
        rights::operator(&request, "changing grants")?;
        lending::change_grant(self, Right::Logs, request.into_inner()).await?;
        Ok(Response::new(ChangeGrantResponse {}))
    }

    async fn list_grants(
        &self,
        request: Request<ListGrantsRequest>,
    ) -> Result<Response<ListGrantsResponse>, Status> {
        rights::operator(&request, "listing grants")?;
        lending::list_grants(self).await.map(Response::new)
    }

    async fn change_signer(
        &self,
        request: Request<ChangeSignerRequest>,
    ) -> Result<Response<ChangeSignerResponse>, Status> {
        rights::operator(&request, "changing signing keys")?;
        lending::change_signer(self, request.into_inner()).await?;
        Ok(Response::new(ChangeSignerResponse {}))
    }

    async fn list_signers(
        &self,
        request: Request<ListSignersRequest>,
    ) -> Result<Response<ListSignersResponse>, Status> {
        rights::operator(&request, "listing signing keys")?;
        lending::list_signers(self).await.map(Response::new)
    }
}
